"""Names that differ only in their numbers, told once: ``layers.*.mlp.0.width``, six times.

The pattern is one that ``Elasticity`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Alike", "alike", "patterns"]

T = TypeVar("T")


@dataclass(frozen=True)
class Alike(Generic[T]):
    """Things of one kind whose names differ only in their numbers.

    Attributes:
        name: The name, or what the names have in common with ``*`` for the numbers that differ.
        items: The things, in their order.
    """

    name: str
    items: tuple[T, ...]


def alike(
    items: Iterable[T], name: Callable[[T], str], same: Callable[[T], Hashable]
) -> list[Alike[T]]:
    """Groups things by name without its numbers, in the order of the first of each group.

    Args:
        items: The things.
        name: The name of one; parts are separated by dots.
        same: What must also be equal for two of them to be told as one.

    Example:
        >>> from supple.report._alike import alike
        >>> [(g.name, len(g.items)) for g in alike(["a.0.x", "b", "a.1.x"], str, len)]
        [('a.*.x', 2), ('b', 1)]
    """
    found: dict[tuple[object, ...], list[T]] = {}
    for item in items:
        parts = tuple("*" if part.isdigit() else part for part in name(item).split("."))
        found.setdefault((parts, same(item)), []).append(item)
    return [Alike(_common([name(i) for i in group]), tuple(group)) for group in found.values()]


def _common(names: Sequence[str]) -> str:
    columns = zip(*(name.split(".") for name in names), strict=True)
    return ".".join(parts[0] if len(set(parts)) == 1 else "*" for parts in columns)


def patterns(names: Iterable[str]) -> list[str]:
    """Names in few words: ``"layers.*.weight[0] (6 of them)"``."""
    groups = alike(names, str, lambda _: None)
    return [
        group.name if len(group.items) == 1 else f"{group.name} ({len(group.items)} of them)"
        for group in groups
    ]
