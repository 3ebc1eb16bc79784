"""Uniform affine quantization: equal steps, with or without a zero point.

A. Gholami et al., "A Survey of Quantization Methods for Efficient Neural Network Inference", 2021
(2103.13630), in PyTorch's and ONNX's convention q = clamp(round(x / S) + Z), x ~ S (q - Z).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._grid import Grid, grid_of
from supple.compress.quantize._quantizer import (
    SCALE_BITS,
    Quantizer,
    check_bits,
    check_finite,
    straight_through,
)
from supple.compress.quantize._ranges import Estimator, check_estimator, estimated_range
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["Uniform"]


@implements(61)
@dataclass(frozen=True, kw_only=True)
class Uniform(Quantizer):
    """Equal steps between the ends of a range that is estimated from the values.

    Attributes:
        bits: From 2 to 16.
        symmetric: Whether the range is the same on both sides of zero; else a zero point moves it.
        estimator: Which range: ``minmax``, ``percentile``, ``mse`` or ``entropy``.
        percentile: Percent of the values inside, for ``percentile``.
        granularity: What shares a scale.
        group_size: Values per scale for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import Uniform
        >>> four_bits = Uniform(bits=4, granularity="tensor")
        >>> four_bits(torch.tensor([-7.0, -0.6, 0.4, 3.2]))
        tensor([-7., -1.,  0.,  3.])
        >>> four_bits.stored_bits((64, 64)) / 64**2
        4.0078125
    """

    bits: int = 8
    symmetric: bool = True
    estimator: Estimator = "minmax"
    percentile: float = 99.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self, self.bits, 2, 16)
        check_estimator(self.estimator)
        if not 0 < self.percentile <= 100:
            raise CompressError(
                f"Uniform got percentile={self.percentile!r}.",
                why="It is the percent of the values inside the range.",
                hint="percentile=99.9.",
            )

    @property
    def code_bits(self) -> float:
        """Bits of the code of one value."""
        return self.bits

    @property
    def scale_bits(self) -> float:
        """Bits of a scale, and of a zero point where there is one."""
        return SCALE_BITS + (0 if self.symmetric else self.bits)

    def grid(self, rows: Tensor) -> Grid:
        """The grid for the values of each row."""
        low, high = estimated_range(
            rows, self.estimator, bits=self.bits, symmetric=self.symmetric,
            percentile=self.percentile,
        )  # fmt: skip
        return grid_of(low, high, bits=self.bits, symmetric=self.symmetric)

    def quantize_rows(self, rows: Tensor) -> Tensor:
        """Each row on its own grid."""
        return self.grid(rows).nearest(rows)

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` on its grid; the gradient is that of the identity inside the range, else 0."""
        check_finite(x)
        rows = self.rows(x)
        with torch.no_grad():
            grid = self.grid(rows)
            values = grid.nearest(rows)
        return straight_through(values, grid.inside(rows)).reshape(x.shape)
