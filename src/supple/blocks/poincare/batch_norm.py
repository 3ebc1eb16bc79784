"""Batch norm on the ball: centre by a mean of the ball, scale by its variance."""

# B batch, C channels, H height, W width, N = B H W points

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_channels, check_option, check_positive, check_rank
from supple.blocks.poincare.ball import PoincareBall
from supple.papers import implements

__all__ = ["PoincareBatchNorm2d"]


@implements(27)
class PoincareBatchNorm2d(nn.Module):
    """Centres points at a learned mean with a learned variance.

    ``y = exp_b(sqrt(s / (var + eps)) P(log_m(x)))`` with the batch's mean m and variance var (the
    mean squared distance to m), a learned mean b and variance s, and P the transport from m to b.
    Evaluation uses moving averages (of the mean, as a tangent vector at the origin, and of the
    variance).

    Args:
        num_features: Channels C.
        ball: The ball; one of curvature -0.1 by default.
        use: ``"midpoint"``, the mean in closed form of the paper, or ``"frechet"``, the exact
            one by iteration.
        eps: Added to the variance.
        momentum: Weight of the newest batch in the moving averages.

    Example:
        >>> PoincareBatchNorm2d(num_features=4)(torch.randn(2, 4, 3, 3)).shape
        torch.Size([2, 4, 3, 3])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        *,
        num_features: int,
        ball: PoincareBall | None = None,
        use: Literal["midpoint", "frechet"] = "midpoint",
        eps: float = 1e-6,
        momentum: float = 0.1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_features=num_features, eps=eps)
        check_option(self, "use", use, ("midpoint", "frechet"))
        self.num_features = num_features
        self.ball = PoincareBall(device=device, dtype=dtype) if ball is None else ball
        self.use = use
        self.eps = eps
        self.momentum = momentum
        zeros = torch.zeros(num_features, device=device, dtype=dtype)
        self.mean = nn.Parameter(zeros.clone())
        self.var = nn.Parameter(torch.ones((), device=device, dtype=dtype))
        self.register_buffer("running_mean", zeros)
        self.register_buffer("running_var", torch.ones((), device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Mean zero, variance one, no statistics."""
        nn.init.zeros_(self.mean)
        nn.init.ones_(self.var)
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Tangent vectors (B, C, H, W) to the same shape."""
        check_rank(self, x, exactly=4)
        check_channels(self, x, self.num_features)
        ball = self.ball
        points = ball.expmap0(x.movedim(1, -1))  # (B, H, W, C)
        mean, var = self._statistics(points.flatten(0, 2))
        scale = (self.var.abs() / (var + self.eps)).sqrt()
        goal = ball.expmap0(self.mean)
        moved = ball.transport(mean, goal, ball.logmap(mean, points)) * scale
        return ball.logmap0(ball.expmap(goal, moved)).movedim(-1, 1)

    def _statistics(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The mean (C), a point of the ball, and the variance, of the batch or on average."""
        ball = self.ball
        if not self.training:
            return ball.expmap0(self.running_mean), self.running_var
        mean = ball.midpoint(points) if self.use == "midpoint" else ball.frechet_mean(points)
        var = ball.distance(mean, points).square().mean()
        with torch.no_grad():
            tangent = ball.logmap0(mean.detach())
            self.running_mean.mul_(1 - self.momentum).add_(tangent, alpha=self.momentum)
            self.running_var.mul_(1 - self.momentum).add_(var.detach(), alpha=self.momentum)
        return mean, var

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_features={self.num_features}, use={self.use!r}"
