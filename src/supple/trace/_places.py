"""Where in the user's own code something happened."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

import torch

__all__ = ["user_frame", "user_line"]

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
