"""Scorers by name: every public file of this folder is one scorer, named as the file."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from supple.elastic.importance._base import Loss, Scorer
from supple.errors import DataError, TrainingError, near_misses

__all__ = ["checked_name", "scorer", "scorer_names", "scorer_settings"]

_DATA = ("batches", "loss")  # what the call gives; it is no setting


def scorer_names() -> tuple[str, ...]:
    """The names of all scorers, sorted."""
    return tuple(sorted(_scorers()))


def checked_name(name: str) -> str:
    """The name as its file has it.

    Raises:
        TrainingError: There is no such scorer.
    """
    key = name.strip().lower().replace("-", "_")
    if key not in _scorers():
        raise TrainingError(
            f"There is no importance scorer '{name}'.",
            hint=f"{near_misses(key, scorer_names())} All are {', '.join(scorer_names())}.",
            scorer=name,
        )
    return key


def scorer(
    name: str,
    *,
    batches: Iterable[tuple[Any, Any]] | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    **settings: Any,
) -> Scorer:
    """The scorer called ``name``, ready for `supple.Elastic.reorder`.

    Args:
        name: One of `scorer_names`.
        batches: Calibration batches ``(inputs, targets)``, for the scorers that need data.
        loss: ``loss(outputs, targets)``, for those that need gradients.
        seed: For those that draw.
        **settings: The scorer's own settings, for instance ``normalise="mean"``.

    Raises:
        TrainingError: There is no such scorer, or it has no such setting.
        DataError: The scorer needs data that was not given.

    Example:
        >>> from supple.elastic.importance import scorer
        >>> scorer("magnitude", p=2)
        Magnitude(p=2, normalise='none')
    """
    key = checked_name(name)
    kind = _scorers()[key]
    fields = [field.name for field in dataclasses.fields(kind)]
    known = [field for field in fields if field not in (*_DATA, "seed")]
    for setting in settings:
        if setting not in known:
            raise TrainingError(
                f"The scorer '{key}' has no setting '{setting}'.",
                hint=near_misses(setting, known),
                scorer=key,
                setting=setting,
            )
    given = {"batches": batches, "loss": loss, "seed": seed}
    given = {n: value for n, value in given.items() if n in fields and value is not None}
    missing = [n for n in _DATA if n in fields and n not in given]
    if missing:
        raise DataError(
            f"The scorer '{key}' got no {' and no '.join(missing)}.",
            why="It looks at what the network does with data.",
            hint=f'scorer("{key}", batches=[(inputs, targets), …], loss=F.cross_entropy)',
            scorer=key,
        )
    made: Scorer = kind(**given, **settings)
    return made


def scorer_settings(chosen: Scorer | str) -> dict[str, Any]:
    """A scorer as JSON data: its name and settings, without its data and what is no plain value."""
    if isinstance(chosen, str):
        return {"name": checked_name(chosen)}
    settings: dict[str, Any] = {"name": getattr(chosen, "name", type(chosen).__name__)}
    if dataclasses.is_dataclass(chosen):
        for field in dataclasses.fields(chosen):
            value = getattr(chosen, field.name)
            if isinstance(value, (bool, int, float, str)):
                settings[field.name] = value
    return settings


@cache
def _scorers() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"supple.elastic.importance.{info.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and getattr(kind, "name", None) == info.name:
                found[info.name] = kind
    return found
