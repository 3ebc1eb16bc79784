"""A table as an object in a Python file: recorded results, or a model of them."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from supple.errors import SearchError, SuppleError, near_misses
from supple.search.tables._table import COUNTED, RecordedTable
from supple.space import Space
from supple.study.direction import checked_directions

__all__ = ["read_object"]

PARTS = ("space", "evaluate", "directions", "reference")


def read_object(path: Path, name: str, exact: tuple[str, ...] | None) -> RecordedTable:
    """The table called ``name`` in a Python file; the file itself if no name is given."""
    module = _run(path)
    found: Any = module
    if name:
        if not hasattr(module, name):
            known = [n for n in vars(module) if not n.startswith("_")]
            raise _bad(path, name, f"the file has no '{name}'", near_misses(name, known))
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            found = found()
    missing = [part for part in PARTS if not hasattr(found, part)]
    if missing:
        raise _bad(path, name, f"it has no {' and no '.join(missing)}")
    space = _value(found.space)
    if not isinstance(space, Space):
        raise _bad(path, name, f"space() gave {type(space).__name__}, not a Space")
    directions = checked_directions(_value(found.directions))
    reference = _reference(path, name, _value(found.reference), list(directions))
    best = _value(getattr(found, "best_hypervolume", None))
    counted = tuple(n for n in directions if n.lower() in COUNTED)
    return RecordedTable(
        space=space,
        directions=directions,
        evaluate=found.evaluate,
        reference=reference,
        best_hypervolume=None if best is None else float(best),
        exact=counted if exact is None else exact,
        source=f"{path}:{name}" if name else str(path),
    )


def _reference(path: Path, name: str, given: Any, objectives: list[str]) -> dict[str, float]:
    """The reference point by objective; a sequence is read in the order of the objectives."""
    if not isinstance(given, Mapping):
        try:
            given = dict(zip(objectives, given, strict=True))
        except (TypeError, ValueError):
            given = {}
    if not set(objectives) <= set(given):
        raise _bad(path, name, f"its reference lacks one of {', '.join(objectives)}")
    return {objective: float(given[objective]) for objective in objectives}


def _value(part: Any) -> Any:
    """A part may be given as a function without arguments."""
    return part() if callable(part) else part


def _run(path: Path) -> ModuleType:
    whole = path.resolve()
    name = f"supple_table_{path.stem}_{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except SuppleError:
        raise
    except Exception as error:
        raise SearchError(
            f"the file '{path}' of the table ends with {type(error).__name__}: {error}.",
            hint=f"python {path}",
            path=str(path),
        ) from error
    return module


def _bad(path: Path, name: str, what: str, hint: str = "") -> SearchError:
    return SearchError(
        f"'{name or path.name}' in '{path.name}' is no table: {what}.",
        why="A table has space(), evaluate(config), directions and reference.",
        hint=hint or "def space(): …, def evaluate(config): …, directions = {…}, reference = {…}.",
        path=str(path),
    )
