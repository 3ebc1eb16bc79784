"""One-bit and ternary weights: signs with a scale, and signs with a zero between them.

M. Rastegari et al., "XNOR-Net" (1603.05279): for B = sign(W), mean |W| is the scale with the least
squared error. F. Li et al., "Ternary Weight Networks" (1605.04711): what is within 0.7 mean |W| of
zero becomes zero, and the scale is the mean |W| of the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._quantizer import Quantizer
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["Binary", "Ternary", "signs"]


def signs(x: Tensor) -> Tensor:
    """-1 where ``x`` is below zero, else 1: unlike torch.sign never 0."""
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


@implements(61)
@dataclass(frozen=True, kw_only=True)
class Binary(Quantizer):
    """±mean |W| of the row.

    Attributes:
        granularity: What shares a scale.
        group_size: Values per scale for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import Binary
        >>> Binary(granularity="tensor")(torch.tensor([1.0, -2.0, 0.0, 5.0]))
        tensor([ 2., -2.,  2.,  2.])
    """

    @property
    def code_bits(self) -> float:
        """One bit for each value."""
        return 1

    def quantize_rows(self, rows: Tensor) -> Tensor:
        """Signs times the mean magnitude."""
        return signs(rows) * rows.abs().mean(1, keepdim=True)


@implements(61)
@dataclass(frozen=True, kw_only=True)
class Ternary(Quantizer):
    """-s, 0 or s: zero below a share of the mean magnitude.

    Attributes:
        threshold: Of zero, in mean magnitudes of the row.
        granularity: What shares a scale.
        group_size: Values per scale for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import Ternary
        >>> Ternary(granularity="tensor")(torch.tensor([1.0, -4.0, 0.0, 3.0]))
        tensor([ 0.0000, -3.5000,  0.0000,  3.5000])
    """

    threshold: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold < math.inf:
            raise CompressError(
                f"Ternary got threshold={self.threshold!r}.",
                why="It is in mean magnitudes, from 0 up.",
                hint="threshold=0.7.",
            )

    @property
    def code_bits(self) -> float:
        """A value is one of three: log2(3) bits where five share a byte, 1.6 then."""
        return 1.6

    def quantize_rows(self, rows: Tensor) -> Tensor:
        """Signs of what is large, times its mean magnitude."""
        size = rows.abs()
        is_large = size > self.threshold * size.mean(1, keepdim=True)
        kept = is_large.sum(1, keepdim=True).clamp(min=1)
        scale = (size * is_large).sum(1, keepdim=True) / kept
        return signs(rows) * is_large * scale
