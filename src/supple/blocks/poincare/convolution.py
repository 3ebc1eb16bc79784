"""Linear maps and convolutions of the ball, by distances to hyperplanes (HNN++).

A convolution is a linear map of the patch. Its exponential map only needs the patch's length, so
that instead of unfolding patches two ordinary convolutions do: one of the vectors, one of their
squared lengths.
"""

# B batch, D input features, O outputs, K side of the window

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_channels, check_features, check_positive, check_rank
from supple.blocks.poincare.ball import PoincareBall
from supple.papers import implements

__all__ = ["PoincareConv2d", "PoincareLinear"]


def _hyperplane_scores(
    ball: PoincareBall, inner: Tensor, factor: Tensor, length: Tensor, bias: Tensor
) -> Tensor:
    """Signed distances to hyperplanes, times ``2 |z|``.

    Args:
        ball: The ball.
        inner: ``<x, z / |z|>`` for points x of the ball.
        factor: The conformal factor at x.
        length: ``|z|``, to be broadcast.
        bias: The offset r of each hyperplane, to be broadcast.
    """
    root = ball.c.sqrt()
    turn = 2 * root * bias
    inside = factor * root * inner * torch.cosh(turn) - (factor - 1) * torch.sinh(turn)
    return 2 * length / root * torch.asinh(inside)


def _to_tangent(ball: PoincareBall, scores: Tensor, dim: int) -> Tensor:
    """The tangent vector of the point whose signed distances to the axes are these."""
    c = ball.c
    w = torch.sinh(c.sqrt() * scores) / c.sqrt()
    size = (1 + c * w.square().sum(dim, keepdim=True)).sqrt()
    return ball.logmap0(w / (1 + size), dim)


@implements(27)
class PoincareLinear(nn.Module):
    """A linear map between balls; tangent vectors in and out.

    Args:
        in_features: Features D.
        out_features: Outputs O.
        ball: The ball; one of curvature -0.1 by default.
        bias: Whether hyperplanes may lie off the origin.

    Example:
        >>> block = PoincareLinear(in_features=4, out_features=4, bias=False)
        >>> x = torch.randn(2, 4)
        >>> bool(torch.allclose(block(x), x, atol=1e-4))  # it starts as the identity
        True
    """

    def __init__(
        self,
        *,
        in_features: int,
        out_features: int,
        ball: PoincareBall | None = None,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.ball = PoincareBall(device=device, dtype=dtype) if ball is None else ball
        self.weight = nn.Parameter(
            torch.empty((out_features, in_features), device=device, dtype=dtype)
        )
        self.bias = (
            nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Half the identity, which makes the map the identity; no offsets.

        Outputs beyond the inputs get small random weights, for at zero they could not learn.
        """
        with torch.no_grad():
            self.weight.normal_(std=1e-3)
            self.weight.fill_diagonal_(0.5)
            square = min(self.weight.shape)
            self.weight[:square] = torch.eye(square, self.in_features).to(self.weight) / 2
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def scores(self, x: Tensor) -> Tensor:
        """Signed distances to the O hyperplanes, as logits of a classifier: (…, D) to (…, O)."""
        check_features(self, x, self.in_features)
        p = self.ball.expmap0(x)
        length = self.ball.norm(self.weight)
        inner = F.linear(p, self.weight / length)
        bias = torch.zeros_like(length[:, 0]) if self.bias is None else self.bias
        factor = self.ball.conformal_factor(p)
        return _hyperplane_scores(self.ball, inner, factor, length[:, 0], bias)

    def forward(self, x: Tensor) -> Tensor:
        """Tangent vectors (…, D) to tangent vectors (…, O)."""
        return _to_tangent(self.ball, self.scores(x), -1)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


@implements(27)
class PoincareConv2d(nn.Module):
    """A convolution on the ball; feature maps of tangent vectors in and out.

    The vectors of a patch are scaled by ``Beta(n/2, 1/2) / Beta(m/2, 1/2)`` for n numbers in a
    patch and m in a vector, so that the patch is as long as its vectors are on average, joined,
    put on the ball and mapped linearly.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side K of the window.
        stride: Step.
        padding: Zeros at each border.
        ball: The ball; one of curvature -0.1 by default.
        bias: Whether hyperplanes may lie off the origin.

    Example:
        >>> block = PoincareConv2d(in_channels=3, out_channels=8, kernel_size=3, padding=1)
        >>> block(torch.randn(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        ball: PoincareBall | None = None,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            self,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
        )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ball = PoincareBall(device=device, dtype=dtype) if ball is None else ball
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Half the identity at the centre of the window, then at the other cells; no offsets.

        Where there are more outputs than numbers in a patch, the rest gets small random weights.
        """
        with torch.no_grad():
            self.weight.normal_(std=1e-3)
            cells = self.kernel_size**2
            centre = cells // 2
            order = [centre, *(i for i in range(cells) if i != centre)]
            for out in range(min(self.out_channels, self.in_channels * cells)):
                cell = order[out // self.in_channels]
                self.weight[out] = 0
                place = (cell // self.kernel_size, cell % self.kernel_size)
                self.weight[(out, out % self.in_channels, *place)] = 0.5
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def patch_scale(self) -> float:
        """What the vectors of a patch are multiplied by."""
        return _beta(self.in_channels * self.kernel_size**2) / _beta(self.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Tangent vectors (B, in, H, W) to tangent vectors (B, out, H', W')."""
        check_rank(self, x, exactly=4)
        check_channels(self, x, self.in_channels)
        ball = self.ball
        v = x * self.patch_scale
        length_O = ball.norm(self.weight.flatten(1))
        unit = self.weight / length_O.reshape(-1, 1, 1, 1)
        inner = F.conv2d(v, unit, stride=self.stride, padding=self.padding)
        window = torch.ones_like(self.weight[:1, :1].detach())
        squares = v.square().sum(1, keepdim=True)
        patch = F.conv2d(squares, window, stride=self.stride, padding=self.padding)
        size = ball.c.sqrt() * patch.clamp_min(1e-30).sqrt()
        reached = torch.tanh(size).clamp_max(ball.longest(x))  # sqrt(c) times the point's norm
        factor = 2 / (1 - reached.square())
        bias = torch.zeros_like(length_O[:, 0]) if self.bias is None else self.bias
        scores = _hyperplane_scores(
            ball,
            inner * (reached / size),
            factor,
            length_O.reshape(-1, 1, 1),
            bias.reshape(-1, 1, 1),
        )
        return _to_tangent(ball, scores, 1)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )


def _beta(n: int) -> float:
    """``Beta(n / 2, 1 / 2)``."""
    return math.exp(math.lgamma(n / 2) + math.lgamma(0.5) - math.lgamma((n + 1) / 2))
