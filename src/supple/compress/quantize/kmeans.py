"""Codebooks found by k-means: of single values, and of short vectors.

Y. Gong et al., "Compressing Deep Convolutional Networks using Vector Quantization" (1412.6115) and
S. Han et al., "Deep Compression" (1510.00149), in the survey 2103.13630, sections III.F and IV.F.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._levels import LevelQuantizer
from supple.compress.quantize._quantizer import SCALE_BITS, Granularity, Quantizer, check_bits
from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["KMeans", "ProductQuantizer", "lloyd"]


def lloyd(points: Tensor, centres: Tensor, rounds: int) -> Tensor:
    """Lloyd's algorithm: ``centres`` moved to the means of the points nearest to them.

    A centre that no point is nearest to stays where it is, so the error never rises.

    Args:
        points: Shape (points, dimensions).
        centres: First centres, shape (centres, dimensions).
        rounds: How often at most; it ends where nothing moves.
    """
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        count = torch.bincount(nearest, minlength=len(centres)).to(points)[:, None]
        total = torch.zeros_like(centres).index_add_(0, nearest, points)
        moved = torch.where(count > 0, total / count.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


@implements(61)
@dataclass(frozen=True, kw_only=True)
class KMeans(LevelQuantizer):
    """The ``2^bits`` values with the (locally) least squared error: Lloyd's algorithm.

    It starts from quantiles of the values, so equal tensors give equal codebooks. With one
    codebook per channel the codebooks can outweigh the codes: see `stored_bits`.

    Attributes:
        bits: From 1 to 8.
        rounds: Of Lloyd's algorithm at most.
        granularity: What shares a codebook.
        group_size: Values per codebook for ``"group"``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import KMeans
        >>> KMeans(bits=1)(torch.tensor([[0.0, 0.2, 5.0, 5.2]]))
        tensor([[0.1000, 0.1000, 5.1000, 5.1000]])
    """

    granularity: Granularity = "tensor"
    bits: int = 4
    rounds: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self, self.bits, 1, 8)

    @property
    def code_bits(self) -> float:
        """Bits of the code of one value."""
        return self.bits

    @property
    def scale_bits(self) -> float:
        """A row's codebook: a float32 for each level."""
        return SCALE_BITS * (1 << self.bits)

    def levels(self, rows: Tensor) -> Tensor:
        """Each row's codebook, ascending."""
        return torch.stack([self._codebook(row) for row in rows])

    def _codebook(self, row: Tensor) -> Tensor:
        """One-dimensional Lloyd by sorted sums: borders are halfway between levels."""
        values = row.double().sort().values
        sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
        places = (torch.arange(2**self.bits) + 0.5) / 2**self.bits * len(values)
        levels = values[places.long().clamp(max=len(values) - 1)]
        for _ in range(self.rounds):
            borders = torch.searchsorted(values, (levels[1:] + levels[:-1]) / 2, right=True)
            ends = torch.cat([borders.new_zeros(1), borders, borders.new_tensor([len(values)])])
            count = ends.diff()
            means = sums[ends].diff() / count.clamp(min=1)
            moved = torch.where(count > 0, means, levels)
            if torch.equal(moved, levels):
                break
            levels = moved
        return levels.sort().values.to(row)


@implements(61)
@dataclass(frozen=True, kw_only=True)
class ProductQuantizer(Quantizer):
    """Runs of ``length`` values of a channel as one code of a codebook of vectors.

    A code of ``bits`` bits stands for ``length`` values: with 8 bits for 4 values that is 2 bits
    a value. One codebook for the whole tensor.

    Attributes:
        bits: Of a code, from 1 to 12.
        length: Values of one vector; has to divide what a channel holds.
        rounds: Of Lloyd's algorithm at most.
        seed: Of the vectors it starts from.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import ProductQuantizer
        >>> quantizer = ProductQuantizer(bits=1, length=2)
        >>> quantizer(torch.tensor([[0.0, 1.0, 4.0, 4.0]]))
        tensor([[0., 1., 4., 4.]])
    """

    bits: int = 8
    length: int = 4
    rounds: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bits(self, self.bits, 1, 12)
        if self.length < 1:
            raise CompressError(f"ProductQuantizer got length={self.length}.", hint="length=4.")

    @property
    def code_bits(self) -> float:
        """Bits of a value: a vector's code, shared by its values."""
        return self.bits / self.length

    def scales(self, shape: Sequence[int]) -> int:
        """Stored numbers beside the codes: those of the codebook."""
        return int(min(2**self.bits * self.length, math.prod(shape)))

    def quantized(self, x: Tensor) -> Tensor:
        """Each vector at the nearest of the codebook."""
        channel = x[0].numel() if x.dim() else 1
        if channel % self.length:
            raise CompressError(
                f"vectors of {self.length} do not divide the {channel} values of a channel.",
                hint=f"length={math.gcd(channel, self.length)}.",
            )
        return super().quantized(x)

    def rows(self, x: Tensor) -> Tensor:
        """The vectors."""
        return x.reshape(-1, self.length)

    def quantize_rows(self, rows: Tensor) -> Tensor:
        """Each vector at the nearest of the codebook."""
        if len(rows) <= 2**self.bits:
            return rows.clone()
        draws = torch_generator(self.seed, "product quantizer")
        first = rows[torch.randperm(len(rows), generator=draws)[: 2**self.bits]]
        centres = lloyd(rows, first, self.rounds)
        return centres[torch.cdist(rows, centres).argmin(1)]
