"""Pruners by name: a public file of this folder that has a class of its own name with scores."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from supple.compress.prune._pruner import Pruner
from supple.errors import CompressError, near_misses

__all__ = ["pruner", "pruner_names"]


def pruner_names() -> tuple[str, ...]:
    """The names of all pruners, sorted.

    Example:
        >>> from supple.compress.prune import pruner_names
        >>> pruner_names()
        ('grasp', 'magnitude', 'movement', 'random', 'snip', 'synflow', 'taylor')
    """
    return tuple(sorted(_pruners()))


def pruner(name: str | Pruner, *, seed: int = 0, **settings: Any) -> Pruner:
    """The pruner called ``name``; a pruner is given back as it is.

    Args:
        name: One of `pruner_names`.
        seed: For those that draw.
        **settings: The pruner's own settings, for instance ``rounds=10``.

    Raises:
        CompressError: There is none of that name, or it has no such setting.

    Example:
        >>> from supple.compress.prune import pruner
        >>> pruner("synflow", rounds=10)
        SynFlow(rounds=10)
    """
    if not isinstance(name, str):
        return name
    key = name.strip().lower().replace("-", "_")
    if key not in _pruners():
        raise CompressError(
            f"there is no pruner '{name}'.",
            hint=f"{near_misses(key, pruner_names())} All are {', '.join(pruner_names())}.",
        )
    kind = _pruners()[key]
    fields = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in fields:
            raise CompressError(
                f"the pruner '{key}' has no setting '{setting}'.", hint=near_misses(setting, fields)
            )
    if "seed" in fields:
        settings.setdefault("seed", seed)
    made: Pruner = kind(**settings)
    return made


@cache
def _pruners() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"supple.compress.prune.{info.name}")
        for kind in vars(module).values():
            is_named = isinstance(kind, type) and getattr(kind, "name", None) == info.name
            if is_named and hasattr(kind, "scores"):
                found[info.name] = kind
    return found
