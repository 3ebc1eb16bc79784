"""The grid of a uniform affine format: q = clamp(round(x / scale) + zero), x ~ scale (q - zero)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Grid", "grid_of"]


@dataclass(frozen=True)
class Grid:
    """Scales and zero points, which broadcast over what is quantized, and the range of codes.

    Attributes:
        scale: Distance of neighbouring values.
        zero: The code of zero, a whole number.
        low: Smallest code.
        high: Largest code.
    """

    scale: Tensor
    zero: Tensor
    low: int
    high: int

    def codes(self, x: Tensor) -> Tensor:
        """The whole numbers that stand for ``x``, halves to even, as floats."""
        return (torch.round(x / self.scale) + self.zero).clamp(self.low, self.high)

    def values(self, codes: Tensor) -> Tensor:
        """What the codes stand for."""
        return (codes - self.zero) * self.scale

    def nearest(self, x: Tensor) -> Tensor:
        """``x`` on the grid."""
        return self.values(self.codes(x))

    def inside(self, x: Tensor) -> Tensor:
        """``x`` clipped to the range that the grid covers: its gradient is 0 beyond."""
        low, high = ((code - self.zero) * self.scale for code in (self.low, self.high))
        return torch.minimum(torch.maximum(x, low), high)


def grid_of(low: Tensor, high: Tensor, *, bits: int, symmetric: bool) -> Grid:
    """The grid of ``bits`` that covers [low, high]; zero is one of its values.

    Symmetric grids leave out the most negative code, so that the range is the same on both sides;
    where there is nothing to cover the scale is 1.
    """
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = torch.maximum(high, -low) / top
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return Grid(scale, torch.zeros_like(scale), -top, top)
    steps = 2**bits - 1
    scale = (high - low) / steps
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = torch.round(-low / scale).clamp(0, steps)
    return Grid(scale, zero, 0, steps)
