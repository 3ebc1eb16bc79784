"""Logarithmic quantization: powers of two, and sums of two of them.

Multiplying by such a value is one shift, or two and an addition. Steps are finest near zero,
where most weights are (D. Miyashita et al., 1603.01025; Y. Li et al., "Additive Powers-of-Two
Quantization", 1909.13144; both in the survey 2103.13630, section III.F).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._levels import LevelQuantizer
from supple.compress.quantize._quantizer import check_bits
from supple.papers import implements

__all__ = ["AdditivePowersOfTwo", "PowersOfTwo"]


def _mirrored(magnitudes: Tensor, rows: Tensor) -> Tensor:
    """Levels 0 and ± magnitudes (ascending, largest 1) times the largest value of each row."""
    levels = torch.cat([-magnitudes.flip(0), magnitudes.new_zeros(1), magnitudes])
    return levels.to(rows) * rows.abs().amax(1, keepdim=True)


@implements(61)
@dataclass(frozen=True, kw_only=True)
class PowersOfTwo(LevelQuantizer):
    """Zero and ±max·2^-k: ``2^bits - 1`` values, each half of the next.

    Attributes:
        bits: From 2 to 6; more would only add values next to zero.
        granularity: What shares a scale.
        group_size: Values per scale for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import PowersOfTwo
        >>> PowersOfTwo(bits=3, granularity="tensor")(torch.tensor([8.0, 5.0, -3.5, 0.5]))
        tensor([ 8.,  4., -4.,  0.])
    """

    bits: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self, self.bits, 2, 6)

    @property
    def code_bits(self) -> float:
        """Bits of the code of one value."""
        return self.bits

    def levels(self, rows: Tensor) -> Tensor:
        """The values of the format."""
        exponents = torch.arange(2 ** (self.bits - 1) - 2, -1, -1)
        return _mirrored(2.0**-exponents, rows)


@implements(61)
@dataclass(frozen=True, kw_only=True)
class AdditivePowersOfTwo(LevelQuantizer):
    """Sums of two powers of two, with a sign: nearly as even as a uniform grid at large values.

    With n = (bits - 1) / 2 bits for each term, the first is one of 0, 1, 1/4, 1/16, … and the
    second one of 0, 1/2, 1/8, …; the sums are scaled to the largest value of the row.

    Attributes:
        bits: 3, 5 or 7: one for the sign, the others shared by two terms.
        granularity: What shares a scale.
        group_size: Values per scale for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import AdditivePowersOfTwo
        >>> AdditivePowersOfTwo(bits=5, granularity="tensor").levels(torch.ones(1, 1)).shape
        torch.Size([1, 31])
    """

    bits: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self, self.bits, 3, 7)
        if self.bits % 2 == 0:
            check_bits(self, f"{self.bits}, an even number", 3, 7)

    @property
    def code_bits(self) -> float:
        """Bits of the code of one value."""
        return self.bits

    def levels(self, rows: Tensor) -> Tensor:
        """The values of the format."""
        terms = 2 ** ((self.bits - 1) // 2) - 1
        first = torch.cat([torch.zeros(1), 4.0 ** -torch.arange(terms)])
        sums = torch.unique(first[:, None] + first[None] / 2)
        return _mirrored(sums[1:] / sums[-1], rows)
