"""The claims of this folder: every public file is one, named as its paper is known.

What is listed is read from the sources, so a list costs no import of torch.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from supple.claims._claim import Claim
from supple.errors import ClaimError, near_misses

__all__ = ["Entry", "entries", "entry", "load"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A claim as its file names it.

    Attributes:
        name: Name of the file.
        paper: Id of the paper in the catalogue.
        says: What the paper says, one sentence.
        path: The file.
    """

    name: str
    paper: int
    says: str
    path: Path


@cache
def entries(folder: Path = FOLDER) -> tuple[Entry, ...]:
    """All claims, by name; nothing is imported.

    Raises:
        ClaimError: A file of the folder holds no claim, or its paper or sentence is computed.
    """
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    return tuple(_entry(path) for path in files)


def entry(name: str, folder: Path = FOLDER) -> Entry:
    """The claim of this name.

    Raises:
        ClaimError: There is none; the message names near misses.
    """
    wanted = name.strip().lower().replace("-", "_")
    for one in entries(folder):
        if one.name == wanted:
            return one
    raise ClaimError(
        f"there is no claim '{name}'.",
        hint=near_misses(wanted, [one.name for one in entries(folder)])
        + ", or see `supple claims list`.",
        name=name,
    )


def load(name: str) -> Claim[Any]:
    """The claim of this name, ready to run.

    Raises:
        ClaimError: There is none, or its file makes none.
    """
    module = importlib.import_module(f"supple.claims.{entry(name).name}")
    found = [value for value in vars(module).values() if isinstance(value, Claim)]
    if len(found) != 1:
        raise ClaimError(
            f"the file of the claim '{name}' makes {len(found)} claims.", hint="one per file."
        )
    return found[0]


def _entry(path: Path) -> Entry:
    for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if (
                isinstance(mark, ast.Call)
                and isinstance(mark.func, ast.Name)
                and mark.func.id == "claim"
            ):
                given = {word.arg: word.value for word in mark.keywords}
                paper, says = given.get("paper"), given.get("says")
                if isinstance(paper, ast.Constant) and isinstance(says, ast.Constant):
                    return Entry(
                        name=path.stem, paper=int(str(paper.value)), says=str(says.value), path=path
                    )
    raise ClaimError(
        f"'{path}' holds no claim.",
        why="A claim is a function under @claim(paper=…, says=…) with both written out.",
        hint="a name that starts with _ for what is no claim.",
    )
