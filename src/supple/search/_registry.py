"""Strategies by name. The room lists its own files: a new file with a Strategy is found."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from optuna.samplers import BaseSampler

import supple.search
from supple.errors import SearchError, near_misses
from supple.search._strategy import Strategy
from supple.search.optuna_sampler import OptunaSampler, sampler_names
from supple.space import Space
from supple.study.direction import checked_directions

__all__ = ["names", "strategy"]

# Settings that every strategy gets from the call itself.
COMMON = frozenset({"space", "seed"})


@cache
def _own() -> dict[str, type[Strategy]]:
    """The strategies in the files of this room, by name."""
    found: dict[str, type[Strategy]] = {}
    for module in pkgutil.iter_modules(supple.search.__path__, "supple.search."):
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Strategy) and value.name:
                found[value.name] = value
    return found


def names() -> list[str]:
    """What ``strategy`` knows: supple's own first, then Optuna's samplers."""
    return [*sorted(_own()), *sampler_names()]


def strategy(
    name: str,
    *,
    space: Space,
    directions: Mapping[str, str] | None = None,
    seed: int = 0,
    **settings: Any,
) -> BaseSampler:
    """The strategy of this name, ready for ``study.run`` or any Optuna study.

    Args:
        name: One of ``names()``: ``random``, ``nsga2``, ``linas``, …, or the class of one of
            Optuna's samplers, such as ``TPESampler``.
        space: The space to search.
        directions: The objectives, checked here; strategies read them from the study.
        seed: Seed of everything it draws.
        **settings: The strategy's own settings, for instance ``population=20``.

    Raises:
        SearchError: For a name or setting that does not exist; it names near misses.

    Example:
        >>> from supple.search import strategy
        >>> from supple.space import Space, Width
        >>> space = Space({"a": Width(options=(8, 16))})
        >>> strategy("random", space=space, seed=7, population=10)
        RandomSearch(seed=7, population=10)
    """
    if directions is not None:
        checked_directions(directions)
    if name not in _own():
        if name not in sampler_names() and not str(name).endswith("Sampler"):
            raise SearchError(
                f"there is no strategy {name!r}.", hint=near_misses(str(name), names()), name=name
            )
        return OptunaSampler(name, space=space, seed=seed, settings=settings)
    kind = _own()[name]
    known = {f.name for f in dataclasses.fields(kind)} - COMMON
    for setting in settings:
        if setting not in known:
            raise SearchError(
                f"strategy '{name}' has no setting '{setting}'.",
                hint=near_misses(setting, known),
                setting=setting,
            )
    return kind(space=space, seed=seed, **settings)
