"""`KANLinear`: a Kolmogorov-Arnold layer over any base of functions of one variable.

    y_o = bias_o + sum_i sum_m weight[o, i, m] phi_m(x_i)  (+ sum_i base_weight[o, i] silu(x_i))

The base is computed once for every input and contracted with all coefficients in one matrix
product, instead of one spline evaluation per edge. The first weights make the output's variance
one for a standard normal input, whatever the base, so that bases can be compared and exchanged.
"""

# B batch, I in_features, O out_features, M functions of the base

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_channels, check_features, check_positive
from supple.blocks.kan.bases import BSpline, UnivariateBasis, basis
from supple.papers import implements

__all__ = ["KAN", "KANConv2d", "KANLinear"]


@implements(14, 24)
class KANLinear(nn.Module):
    """A Kolmogorov-Arnold layer (arXiv 2404.19756; bases as in arXiv 2503.06112 and 2408.08338).

    It has ``in out size`` coefficients, ``in out`` for the residual, ``out`` for the bias, and what
    the base itself learns.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        basis: Name of a base or a base itself; see `supple.blocks.kan.bases`.
        residual: Add a linear map of silu(x); None adds it to B-splines only, which are zero
            outside their grid.
        bias: Add a bias.
        **settings: Settings of the base, such as ``grid=8``.

    Example:
        >>> import torch
        >>> layer = KANLinear(4, 3, basis="chebyshev", degree=3)
        >>> layer(torch.randn(5, 4)).shape
        torch.Size([5, 3])
    """

    bias: Tensor | None
    base_weight: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        basis: str | UnivariateBasis = "bspline",
        residual: bool | None = None,
        bias: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        check_positive("KANLinear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.basis = _made(basis, settings)
        self.weight = nn.Parameter(torch.empty(out_features, in_features, self.basis.size))
        with_residual = isinstance(self.basis, BSpline) if residual is None else residual
        self.base_weight = (
            nn.Parameter(torch.empty(out_features, in_features)) if with_residual else None
        )
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the coefficients for outputs of variance one at standard normal inputs."""
        self.basis.reset_parameters()
        parts = 1 if self.base_weight is None else 2
        nn.init.normal_(
            self.weight, std=_spread(self.basis.mean_square() * self.in_features, parts)
        )
        if self.base_weight is not None:
            nn.init.normal_(self.base_weight, std=_spread(SILU_SQUARE * self.in_features, parts))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("KANLinear", x, self.in_features)
        y = F.linear(self.basis(x).flatten(-2), self.weight.flatten(1), self.bias)
        if self.base_weight is not None:
            y = y + F.linear(F.silu(x), self.base_weight)
        return y

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


@implements(24)
class KANConv2d(nn.Module):
    """A convolution whose every weight is a function of one variable (arXiv 2408.08338).

    The base is applied to the image; its functions become channels of an ordinary convolution.
    The border is padded after the base, so that padding adds nothing.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Window, square.
        stride: Step of the window.
        padding: Zeros around the image of functions.
        basis: Name of a base or a base itself.
        bias: Add a bias.
        **settings: Settings of the base.

    Example:
        >>> import torch
        >>> layer = KANConv2d(2, 3, 3, padding=1, basis="rbf", count=4)
        >>> layer(torch.randn(1, 2, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        basis: str | UnivariateBasis = "rbf",
        bias: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        check_positive(
            "KANConv2d", in_channels=in_channels, out_channels=out_channels,
            kernel_size=kernel_size, stride=stride,
        )  # fmt: skip
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.basis = _made(basis, settings)
        shape = (out_channels, in_channels, self.basis.size, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the coefficients for outputs of variance one at standard normal inputs."""
        self.basis.reset_parameters()
        terms = self.in_channels * self.kernel_size**2
        nn.init.normal_(self.weight, std=_spread(self.basis.mean_square() * terms, 1))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, in_channels, height, width) to (batch, out_channels, …)."""
        check_channels("KANConv2d", x, self.in_channels, 2)
        features = self.basis(x).permute(0, 1, 4, 2, 3).flatten(1, 2)
        return F.conv2d(features, self.weight.flatten(1, 2), self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"


class KAN(nn.Sequential):
    """Several `KANLinear` layers of one base, with nothing between them.

    Args:
        sizes: Widths from input to output, at least two.
        basis: Name of the base.
        **settings: Further settings of `KANLinear` and of the base.

    Example:
        >>> net = KAN([2, 5, 1], basis="rbf")
        >>> len(net)
        2
    """

    def __init__(self, sizes: Sequence[int], *, basis: str = "bspline", **settings: Any) -> None:
        super().__init__(*(KANLinear(a, b, basis=basis, **settings) for a, b in pairwise(sizes)))
        self.in_features, self.out_features = sizes[0], sizes[-1]

    def reset_parameters(self) -> None:
        """Draws the weights of all layers anew."""
        for layer in self:
            assert isinstance(layer, KANLinear)
            layer.reset_parameters()


SILU_SQUARE = 0.35577552  # the mean of silu(x)^2 over a standard normal x


def _spread(sum_of_squares: float, parts: int) -> float:
    """Standard deviation of weights for which ``parts`` such sums have variance one together."""
    return 1.0 / math.sqrt(max(sum_of_squares, 1e-12) * parts)


def _made(name: str | UnivariateBasis, settings: dict[str, Any]) -> UnivariateBasis:
    return basis(name, **settings)
