"""RigL: dynamic sparse training that grows where the gradient is largest (1911.11134)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from supple.compress.prune.dynamic import DynamicSparse, Grow
from supple.papers import implements

__all__ = ["RigL"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class RigL(DynamicSparse):
    """Drop the smallest weights and grow those with the largest gradient of the loss.

    The gradient is that of all weights, absent ones too, on the batch of the step. ``stop`` is
    usually three quarters of the training.

    Example:
        >>> from supple.compress.prune import RigL
        >>> RigL(every=50, stop=1000).grow
        'gradient'
    """

    name: ClassVar[str] = "rigl"

    grow: Grow = "gradient"
