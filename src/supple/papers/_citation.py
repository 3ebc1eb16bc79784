"""How a class or a function says which papers it implements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["implements"]

T = TypeVar("T")


def implements(*papers: int) -> Callable[[T], T]:
    """Mark a class or function as an implementation of these papers of the catalogue.

    The numbers are written as such, not computed: the catalogue finds them by reading the sources.
    At run time the mark is the attribute ``__papers__`` and changes nothing else.

    Args:
        *papers: Ids in the catalogue.

    Example:
        >>> from supple.papers import implements
        >>> @implements(76)
        ... class Strategy: ...
        >>> Strategy.__papers__
        (76,)
    """

    def mark(thing: T) -> T:
        thing.__papers__ = papers  # type: ignore[attr-defined]
        return thing

    return mark
