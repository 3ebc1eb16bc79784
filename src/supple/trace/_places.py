"""Where in the user's own code something happened."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from pathlib import Path

import torch
from torch import nn

__all__ = ["forward_line", "line_that_sets", "user_frame", "user_line"]

# Not the user's: torch, supple itself, and what Python makes up.
_OTHERS = (
    os.path.dirname(torch.__file__) + os.sep,
    str(Path(__file__).resolve().parents[1]) + os.sep,
    "<",
)
_STANDARD = os.path.dirname(os.__file__) + os.sep  # site-packages, which may lie in it, counts
_FRAME = re.compile(
    r'File "(?P<path>[^"]+)", line (?P<line>\d+)[^\n]*\n(?!\s*File ")(?P<code>[^\n]*)'
)


def _is_users(path: str) -> bool:
    is_standard = path.startswith(_STANDARD) and "site-packages" not in path
    return not is_standard and not path.startswith(_OTHERS)


def user_line(error: BaseException) -> str:
    """The innermost line of an error's traceback in the user's code: ``file:line: code``."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _is_users(f.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else ""


def user_frame(stack: str) -> str:
    """The same for a stack that the exporter recorded with a call."""
    own = [f for f in _FRAME.finditer(stack) if _is_users(f["path"])]
    return f"{own[-1]['path']}:{own[-1]['line']}: {own[-1]['code'].strip()}" if own else ""


def _source(cls: type) -> tuple[str, list[str], int]:
    """File, lines and first line number of a class; empty where there is no source."""
    try:
        lines, start = inspect.getsourcelines(cls)
        return inspect.getsourcefile(cls) or "", lines, start
    except (OSError, TypeError):
        return "", [], 0


def forward_line(model: nn.Module) -> str:
    """Where a model's ``forward`` begins, for errors that do not say where they arose."""
    return _first_match(type(model), re.compile(r"\s*def forward\b"))


def line_that_sets(module: nn.Module, attribute: str) -> str:
    """The line of a module's own methods, ``__init__`` apart, that sets an attribute."""
    pattern = re.compile(rf"(?!.*def ).*\.{re.escape(attribute)}\s*([-+*/|&]|//)?=(?!=)")
    return _first_match(type(module), pattern, behind="def forward") or _first_match(
        type(module), pattern
    )


def _first_match(cls: type, pattern: re.Pattern[str], behind: str = "") -> str:
    path, lines, start = _source(cls)
    is_behind = not behind
    for number, line in enumerate(lines, start):
        is_behind = is_behind or behind in line
        if is_behind and pattern.match(line):
            return f"{path}:{number}: {line.strip()}"
    return ""
