"""What all quantizers share: settings as a value, a straight-through gradient, rows of one scale.

A quantizer maps a tensor to the nearest tensor its number format can hold. The values are floats
on the format's grid: this simulates the format and saves nothing by itself; what a file needs is
`Quantizer.stored_bits`, and integer arithmetic is what an exported file runs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from supple.errors import CompressError

__all__ = ["Granularity", "Quantizer", "check_bits", "check_finite", "straight_through"]

Granularity = Literal["tensor", "channel", "group"]
"""What shares a scale: the whole tensor, one output channel, or a run of values within one."""

SCALE_BITS = 32
"""Bits of a stored scale or level: a float32."""


def straight_through(quantized: Tensor, x: Tensor) -> Tensor:
    """``quantized`` exactly, with the gradient of ``x``."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return quantized
    return quantized.detach() + (x - x.detach())


def check_bits(asked: Any, bits: Any, low: int, high: int) -> None:
    """Raises CompressError unless ``bits`` is a whole number from ``low`` to ``high``."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not low <= bits <= high:
        raise CompressError(
            f"{type(asked).__name__} got bits={bits!r}.",
            why=f"It has formats of {low} to {high} bits.",
            hint=f"bits={min(max(8, low), high)}"
            + (", or Binary() for one bit." if low > 1 else "."),
            bits=bits,
        )


def check_finite(x: Tensor, what: str = "the tensor to quantize") -> None:
    """Raises CompressError where a value is NaN or infinite."""
    if not bool(torch.isfinite(x).all()):
        raise CompressError(
            f"{what} holds NaN or infinity, in {int((~torch.isfinite(x)).sum())} places.",
            why="No range holds them.",
            hint="look at where they come from; a diverged training gives NaN.",
        )


@dataclass(frozen=True, kw_only=True)
class Quantizer(ABC):
    """Maps a tensor to the values of a number format; the fields are the format's settings.

    Calling it gives the quantized tensor with the straight-through gradient: that of the identity,
    inside the range the format can hold.

    Attributes:
        granularity: What shares a scale; dimension 0 of a weight is its output channel.
        group_size: Values per scale for ``"group"``; has to divide what a channel holds.
    """

    granularity: Granularity = "channel"
    group_size: int = 64

    def __post_init__(self) -> None:
        if self.granularity not in ("tensor", "channel", "group"):
            raise CompressError(
                f"{type(self).__name__} got granularity={self.granularity!r}.",
                hint='"tensor", "channel" or "group".',
            )
        if self.group_size < 1:
            raise CompressError(
                f"{type(self).__name__} got group_size={self.group_size}.",
                hint="a whole number from 1 up, often 32, 64 or 128.",
            )

    @property
    @abstractmethod
    def code_bits(self) -> float:
        """Bits of the code of one value."""

    @abstractmethod
    def quantize_rows(self, rows: Tensor) -> Tensor:
        """The quantized values of ``rows``, of shape (scales, values), each row by itself."""

    def quantized(self, x: Tensor) -> Tensor:
        """``x`` in the number format, without a gradient.

        Raises:
            CompressError: A group does not divide a channel, or a value is not finite.
        """
        check_finite(x)
        with torch.no_grad():
            return self.quantize_rows(self.rows(x)).reshape(x.shape)

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` in the number format, with the straight-through gradient."""
        return straight_through(self.quantized(x), x)

    def rows(self, x: Tensor) -> Tensor:
        """``x`` as (scales, values): what shares a scale is one row.

        Raises:
            CompressError: A group does not divide a channel.
        """
        if self.granularity == "tensor" or x.dim() == 0:
            return x.reshape(1, -1)
        rows = x.reshape(x.shape[0], -1)
        if self.granularity == "channel":
            return rows
        if rows.shape[1] % self.group_size:
            raise CompressError(
                f"groups of {self.group_size} do not divide the {rows.shape[1]} values of a "
                f"channel of a tensor of shape {tuple(x.shape)}.",
                hint=f"group_size={math.gcd(rows.shape[1], self.group_size)}.",
                shape=tuple(x.shape),
            )
        return rows.reshape(-1, self.group_size)

    def scales(self, shape: Sequence[int]) -> int:
        """How many scales a tensor of ``shape`` has."""
        return int(self.rows(torch.empty(tuple(shape), device="meta")).shape[0])

    @property
    def scale_bits(self) -> float:
        """Bits stored beside the codes for each scale."""
        return SCALE_BITS

    def stored_bits(self, shape: Sequence[int]) -> float:
        """Bits of a stored tensor of ``shape``: its codes and its scales."""
        return math.prod(shape) * self.code_bits + self.scales(shape) * self.scale_bits
