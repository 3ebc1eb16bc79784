"""A linear layer in integers only: int8 codes, 32-bit sums, and a rescaling by a shift.

B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (1712.05877), in the survey 2103.13630, section IV.A. This is the reference for what an
integer kernel computes; it is written to be exact, not fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._grid import Grid
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["Dyadic", "integer_linear"]


@dataclass(frozen=True)
class Dyadic:
    """A positive factor as ``mantissa / 2**shift``, with 31 bits of mantissa.

    Attributes:
        mantissa: From 2^30 to 2^31 - 1.
        shift: Bits to shift right.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import Dyadic
        >>> Dyadic.nearest(0.75)
        Dyadic(mantissa=1610612736, shift=31)
        >>> int(Dyadic.nearest(0.75).times(torch.tensor(100)))
        75
    """

    mantissa: int
    shift: int

    @classmethod
    def nearest(cls, factor: float) -> Dyadic:
        """The dyadic number nearest to ``factor``.

        Raises:
            CompressError: The factor is not above zero and finite, or too small or large to shift.
        """
        if not 0 < factor < math.inf:
            raise CompressError(f"a scale of {factor!r} cannot be a shift.", hint="scales above 0.")
        fraction, exponent = math.frexp(factor)
        mantissa = round(fraction * 2**31)
        if mantissa == 2**31:
            mantissa, exponent = 2**30, exponent + 1
        shift = 31 - exponent
        if not 1 <= shift <= 62:
            raise CompressError(
                f"a rescaling by {factor:.3g} is out of the range of shifts.",
                hint="scales whose ratio is between 2^-31 and 2^30.",
            )
        return cls(mantissa, shift)

    def times(self, sums: Tensor) -> Tensor:
        """``sums`` times the factor, rounded half up, in 64-bit integers."""
        return (sums.to(torch.int64) * self.mantissa + (1 << (self.shift - 1))) >> self.shift


@implements(61)
def integer_linear(
    x: Tensor,
    weight: Tensor,
    *,
    x_grid: Grid,
    weight_grid: Grid,
    out_grid: Grid,
    bias: Tensor | None = None,
) -> Tensor:
    """The codes of ``x @ weight.T + bias`` from the codes of x and weight, in integers alone.

    Args:
        x: Codes, shape (..., in), any integer dtype.
        weight: Codes, shape (out, in), symmetric: their zero is 0.
        x_grid: What the codes of x stand for; one scale.
        weight_grid: The same for the weight; one scale, or one per output, shape (out, 1).
        out_grid: The grid of the result; one scale.
        bias: In units of ``x scale · weight scale``, whole numbers, shape (out,).

    Returns:
        Codes of the result, shape (..., out), int64.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import integer_linear, Uniform
        >>> eight = Uniform(granularity="tensor")
        >>> x, w = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.25], [1.0, 1.0]])
        >>> grids = [eight.grid(t.reshape(1, -1)) for t in (x, w, x @ w.T)]
        >>> found = integer_linear(grids[0].codes(x).long(), grids[1].codes(w).long(),
        ...     x_grid=grids[0], weight_grid=grids[1], out_grid=grids[2])
        >>> bool((found - grids[2].codes(x @ w.T)).abs().max() <= 1)
        True
    """
    if bool((weight_grid.zero != 0).any()):
        raise CompressError(
            "the weight has a zero point.",
            why="Its codes would have to be corrected by the sum of each input.",
            hint="Uniform(symmetric=True) for weights.",
        )
    centred = x.to(torch.int64) - int(x_grid.zero)
    sums = _int32(centred @ weight.to(torch.int64).T)
    if bias is not None:
        sums = _int32(sums + bias.to(torch.int64))
    factors = (x_grid.scale * weight_grid.scale / out_grid.scale).double().reshape(-1).tolist()
    if len(factors) == 1:
        scaled = Dyadic.nearest(factors[0]).times(sums)
    else:
        columns = [Dyadic.nearest(f).times(sums[..., i]) for i, f in enumerate(factors)]
        scaled = torch.stack(columns, -1)
    return (scaled + int(out_grid.zero)).clamp(out_grid.low, out_grid.high)


def _int32(sums: Tensor) -> Tensor:
    if bool((sums.abs() >= 2**31).any()):
        raise CompressError(
            "a sum of products does not fit 32 bits.", hint="fewer inputs, or fewer bits."
        )
    return sums
