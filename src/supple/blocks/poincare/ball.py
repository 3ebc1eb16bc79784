"""The Poincaré ball: addition, distance, exponential maps, transport and means.

The ball of curvature ``-c`` holds the points of norm below ``1 / sqrt(c)``. All functions work
along one dimension, the last one unless ``dim`` says otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from supple.errors import BlockError
from supple.papers import implements

__all__ = ["PoincareBall"]

_TINY = 1e-15
# How near to the border a point may be, where numbers run out.
_MARGIN = {torch.float64: 1e-5, torch.float32: 4e-3}


@implements(27)
class PoincareBall(nn.Module):
    """A ball with its curvature.

    Args:
        c: The curvature is ``-c``; above zero. For c to 0 everything becomes Euclidean.
        is_learnable: Whether c is trained (as its logarithm).

    Raises:
        BlockError: c is not above zero.

    Example:
        >>> ball = PoincareBall(c=1.0)
        >>> x = torch.tensor([0.3, 0.4], dtype=torch.float64)
        >>> round(ball.distance(x, torch.zeros_like(x)).item(), 4)  # 2 artanh(0.5)
        1.0986
    """

    log_c: Tensor

    def __init__(
        self,
        *,
        c: float = 0.1,
        is_learnable: bool = False,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not c > 0:
            raise BlockError(
                f"PoincareBall got c={c!r}.",
                why="The curvature is -c, so c is above zero.",
                hint="c=0.1 is the paper's; a very small c is almost Euclidean.",
                c=c,
            )
        self.first = c
        log_c = torch.tensor(math.log(c), device=device, dtype=dtype)
        if is_learnable:
            self.log_c = nn.Parameter(log_c)
        else:
            self.register_buffer("log_c", log_c)

    def reset_parameters(self) -> None:
        """The curvature it was made with."""
        with torch.no_grad():
            self.log_c.fill_(math.log(self.first))

    @property
    def c(self) -> Tensor:
        """Minus the curvature."""
        return self.log_c.exp()

    @staticmethod
    def norm(x: Tensor, dim: int = -1) -> Tensor:
        """Euclidean length, the dimension kept; its slope at zero is zero."""
        return x.square().sum(dim, keepdim=True).clamp_min(_TINY**2).sqrt()

    def longest(self, x: Tensor) -> float:
        """The largest norm, times sqrt(c), that numbers of this type can tell from the border."""
        return 1 - _MARGIN.get(x.dtype, 4e-3)

    def project(self, x: Tensor, dim: int = -1) -> Tensor:
        """Pulls points at or beyond the border back inside."""
        scaled = self.c.sqrt() * self.norm(x, dim)
        return x * (self.longest(x) / scaled).clamp_max(1)

    def conformal_factor(self, x: Tensor, dim: int = -1) -> Tensor:
        """``2 / (1 - c |x|**2)``."""
        return 2 / (1 - self.c * x.square().sum(dim, keepdim=True)).clamp_min(_TINY)

    def expmap0(self, v: Tensor, dim: int = -1) -> Tensor:
        """From a tangent vector at the origin to a point."""
        size = self.c.sqrt() * self.norm(v, dim)
        return v * (torch.tanh(size).clamp_max(self.longest(v)) / size)

    def logmap0(self, y: Tensor, dim: int = -1) -> Tensor:
        """From a point to the tangent vector at the origin that leads there."""
        size = self.c.sqrt() * self.norm(y, dim)
        return y * (torch.atanh(size.clamp_max(self.longest(y))) / size)

    def add(self, x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
        """Möbius addition; not commutative."""
        c = self.c
        xy = (x * y).sum(dim, keepdim=True)
        xx, yy = (v.square().sum(dim, keepdim=True) for v in (x, y))
        above = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
        return above / (1 + 2 * c * xy + c.square() * xx * yy).clamp_min(_TINY)

    def distance(self, x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
        """Length of the geodesic, the dimension kept."""
        root = self.c.sqrt()
        size = (root * self.norm(self.add(-x, y, dim), dim)).clamp_max(self.longest(x))
        return 2 / root * torch.atanh(size)

    def logmap(self, x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
        """The tangent vector at x that leads to y."""
        step = self.add(-x, y, dim)
        size = self.c.sqrt() * self.norm(step, dim)
        length = 2 * torch.atanh(size.clamp_max(self.longest(x))) / size
        return step * (length / self.conformal_factor(x, dim))

    def expmap(self, x: Tensor, v: Tensor, dim: int = -1) -> Tensor:
        """Where the tangent vector v at x leads."""
        size = self.c.sqrt() * self.norm(v, dim)
        turned = torch.tanh(self.conformal_factor(x, dim) * size / 2)
        return self.project(self.add(x, v * (turned / size), dim), dim)

    def transport(self, x: Tensor, y: Tensor, v: Tensor, dim: int = -1) -> Tensor:
        """Carries the tangent vector v at x along the geodesic to y."""
        factor = self.conformal_factor(x, dim) / self.conformal_factor(y, dim)
        return self._gyrate(y, -x, v, dim) * factor

    def _gyrate(self, u: Tensor, v: Tensor, w: Tensor, dim: int) -> Tensor:
        """The rotation by which Möbius addition fails to be associative."""
        c = self.c
        uu, vv, uv, uw, vw = (
            (a * b).sum(dim, keepdim=True) for a, b in ((u, u), (v, v), (u, v), (u, w), (v, w))
        )
        a = -c.square() * uw * vv + c * vw + 2 * c.square() * uv * vw
        b = -c.square() * vw * uu - c * uw
        d = 1 + 2 * c * uv + c.square() * uu * vv
        return w + 2 * (a * u + b * v) / d.clamp_min(_TINY)

    def midpoint(self, x: Tensor) -> Tensor:
        """The gyro-midpoint of points (N, D) in closed form: (D)."""
        weight = 1 / (1 - self.c * x.square().sum(-1, keepdim=True)).clamp_min(_TINY)
        # N / 2, as a sum over the points, so that it follows their number.
        half = torch.ones_like(weight).sum() / 2
        mean = (weight * x).sum(0) / (weight.sum() - half)
        # Half of it in the sense of the ball.
        factor = (1 - self.c * mean.square().sum()).clamp_min(_TINY).rsqrt()
        return mean * factor / (1 + factor)

    def frechet_mean(self, x: Tensor, *, steps: int = 50, tolerance: float = 1e-9) -> Tensor:
        """The point of least squared distance to points (N, D), by Karcher's iteration."""
        mean = self.midpoint(x)
        for _ in range(steps):
            step = self.logmap(mean, x).mean(0)
            mean = self.expmap(mean, step)
            if float(step.detach().norm()) < tolerance:
                break
        return mean

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"c={self.first}"
