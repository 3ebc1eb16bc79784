"""SET: sparse evolutionary training (Mocanu et al., 1707.04780)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from supple.compress.prune.dynamic import DynamicSparse
from supple.papers import implements

__all__ = ["SET"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class SET(DynamicSparse):
    """Drop the smallest weights and grow random ones; the share that moves stays the same.

    The paper drops the smallest positive and the largest negative weights, which are together the
    smallest in magnitude.

    Example:
        >>> from supple.compress.prune import SET
        >>> SET(every=50).drop, SET().grow
        ('magnitude', 'random')
    """

    name: ClassVar[str] = "set"
