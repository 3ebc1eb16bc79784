"""Axes that move together: the constraints that hold their choices to one option."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

from supple.errors import SpaceError, near_misses
from supple.space import Choice, Depth, Equal, Swap

__all__ = ["Together", "ties"]

Together = tuple[str | tuple[str, ...], ...]
"""Groups of choices, each one pattern of names or several."""


def ties(together: Together, choices: Mapping[str, Choice]) -> list[Equal]:
    """One constraint for every group and full size that has two choices or more.

    Args:
        together: The groups.
        choices: The choices of the space.

    Raises:
        SpaceError: A pattern matches no width or kernel.
    """
    names = [n for n, choice in choices.items() if not isinstance(choice, (Depth, Swap))]
    found = []
    for group in together:
        by_size: dict[object, list[str]] = {}
        for name in _matching((group,) if isinstance(group, str) else group, names):
            by_size.setdefault(choices[name].size, []).append(name)
        found += [Equal(names=tuple(same)) for same in by_size.values() if len(same) > 1]
    return found


def _matching(patterns: Iterable[str], names: list[str]) -> list[str]:
    matched: dict[str, None] = {}
    for pattern in patterns:
        here = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not here:
            raise SpaceError(
                f"the pattern '{pattern}' of Elasticity.together matches no choice.",
                hint=f"{near_misses(pattern, names)} net.space lists the names of all choices.",
                pattern=pattern,
            )
        matched |= dict.fromkeys(here)
    return list(matched)
