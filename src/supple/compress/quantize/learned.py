"""Ranges learned by gradient during training: LSQ's step and PACT's clip.

S. K. Esser et al., "Learned Step Size Quantization" (1902.08153) and J. Choi et al., "PACT"
(1805.06085), in the survey 2103.13630, section III.G.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from supple.compress.quantize._quantizer import check_bits, straight_through
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["LSQ", "PACT"]


@implements(61)
class LSQ(nn.Module):
    """Uniform quantization whose step is a parameter: y = S round(clamp(x / S, low, high)).

    The step's gradient is round(x / S) - x / S inside the range and the end beyond it, times
    1 / sqrt(values · high), so that it moves at the pace of the weights.

    Args:
        bits: From 2 to 16.
        signed: Codes from -2^(bits-1) up, else from 0 up.
        step: First step; None: 2 mean|x| / sqrt(high) of the first values seen.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import LSQ
        >>> LSQ(bits=3, step=0.5)(torch.tensor([0.3, -0.7, 9.0]))
        tensor([ 0.5000, -0.5000,  1.5000], grad_fn=<MulBackward0>)
    """

    def __init__(self, *, bits: int = 8, signed: bool = True, step: float | None = None) -> None:
        super().__init__()
        check_bits(self, bits, 2, 16)
        if step is not None and not 0 < step < math.inf:
            raise CompressError(f"LSQ got step={step!r}.", hint="a positive number, or None.")
        self.bits = bits
        self.low = -(2 ** (bits - 1)) if signed else 0
        self.high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        self.step = nn.Parameter(torch.tensor(math.nan if step is None else step))

    def start(self, x: Tensor) -> None:
        """The first step, from values."""
        with torch.no_grad():
            first = 2 * x.detach().abs().mean() / math.sqrt(self.high)
            self.step.copy_(first if float(first) > 0 else torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` on the grid of the present step."""
        if not torch.compiler.is_compiling() and bool(self.step.isnan()):
            self.start(x)
        pace = 1 / math.sqrt(max(1, x.numel()) * self.high)
        step = straight_through(self.step, self.step * pace).to(x)
        codes = (x / step).clamp(self.low, self.high)
        return straight_through(codes.detach().round(), codes) * step

    def extra_repr(self) -> str:
        """The settings."""
        return f"bits={self.bits}, low={self.low}, high={self.high}"


@implements(61)
class PACT(nn.Module):
    """A ReLU whose upper end is a parameter: clamp(x, 0, alpha), in 2^bits - 1 equal steps.

    The gradient of alpha is 1 for what it clips, else 0; an L2 penalty on alpha pulls the range
    together.

    Args:
        bits: From 2 to 16.
        alpha: First upper end.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import PACT
        >>> PACT(bits=2, alpha=3.0)(torch.tensor([-1.0, 0.8, 7.0])).tolist()
        [0.0, 1.0, 3.0]
    """

    def __init__(self, *, bits: int = 8, alpha: float = 6.0) -> None:
        super().__init__()
        check_bits(self, bits, 2, 16)
        if not 0 < alpha < math.inf:
            raise CompressError(f"PACT got alpha={alpha!r}.", hint="a positive number.")
        self.bits = bits
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` clipped and quantized."""
        alpha = self.alpha.to(x)
        clipped = torch.where(x >= alpha, alpha, x.clamp(min=0))
        step = (alpha / (2**self.bits - 1)).detach()
        return straight_through(torch.round(clipped.detach() / step) * step, clipped)

    def extra_repr(self) -> str:
        """The settings."""
        return f"bits={self.bits}"
