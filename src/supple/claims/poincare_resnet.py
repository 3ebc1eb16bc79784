"""Poincaré ResNet (paper 27, 2303.14027): identity weights and midpoints make depth possible."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.blocks.poincare import PoincareBall, PoincareConv2d, PoincareLinear
from supple.claims import Arms, Dots, Rule, claim
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How deep, and how many points the means are of."""

    depth: int = 20
    points: int = 20_000


@claim(
    paper=27,
    says="Identity initialisation keeps the size of features through many hyperbolic layers where "
    "random initialisation loses it, and the midpoint is as good a mean as the exact one, sooner.",
    reported="Identity initialisation preserves norms over depth where earlier initialisation "
    "collapses to the origin; midpoint batch norm matches the exact one at a fraction of the cost.",
    here="Twenty linear maps and twenty 3x3 convolutions of 16 channels on the ball, without "
    "norms, weights as each way draws them: how many powers of ten the mean length changes by. "
    "Means of points of spread about 1 in 16 dimensions; the exact one by iteration until a step "
    "is below 1e-6.",
    rules=(
        Rule(metric="decades", method="identity", baseline="random", better="lower", margin=1.0),
        Rule(metric="decades of convolutions", method="identity", baseline="random",
             better="lower", margin=1.0),
        Rule(metric="gap", method="midpoint", baseline=0.01, better="lower"),
        Rule(metric="seconds", method="midpoint", baseline="exact mean", better="lower",
             scale="ratio", margin=5.0, unit="s"),
    ),
    quick=Settings(depth=20, points=5_000),
    full=Settings(),
    full_seeds=10,
    figure=Dots(metric="decades of convolutions", title="powers of ten by which lengths change"),
    tried="With the paper's identity weights a convolution still scales patches by the ratio of "
    "two Beta functions (0.33 for 16 channels), so without batch norm lengths fall by that factor "
    "at every layer; linear maps keep them exactly.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Send vectors through deep stacks, and take means both ways."""
    draw = torch_generator(seed, "poincare claim")
    x = torch.randn((64, _WIDTH), generator=draw, dtype=torch.float64)
    maps = torch.randn((4, _WIDTH, 8, 8), generator=draw, dtype=torch.float64)
    found: dict[str, dict[str, float]] = {}
    for name in ("identity", "random"):
        linear = _stack(settings.depth, _linear, name == "random")
        conv = _stack(settings.depth, _convolution, name == "random")
        found[name] = {
            "decades": _decades(linear, x, -1),
            "decades of convolutions": _decades(conv, maps, 1),
        }
    ball = PoincareBall(c=0.1, dtype=torch.float64)
    tangent = torch.randn((settings.points, _WIDTH), generator=draw, dtype=torch.float64)
    points = ball.expmap0(tangent / math.sqrt(_WIDTH) + 0.5)
    with torch.no_grad():
        exact, slow = _timed(lambda: ball.frechet_mean(points, tolerance=1e-6))
        near, fast = _timed(lambda: ball.midpoint(points))
        spread = ball.distance(exact, points).mean()
        gap = ball.distance(exact, near) / spread
    found["midpoint"] = {"gap": float(gap), "seconds": fast}
    found["exact mean"] = {"gap": 0.0, "seconds": slow}
    return found


_WIDTH = 16


def _linear() -> PoincareLinear:
    return PoincareLinear(in_features=_WIDTH, out_features=_WIDTH, dtype=torch.float64)


def _convolution() -> PoincareConv2d:
    return PoincareConv2d(
        in_channels=_WIDTH, out_channels=_WIDTH, kernel_size=3, padding=1, dtype=torch.float64
    )


def _stack(depth: int, build: object, is_random: bool) -> nn.Sequential:
    layers = [build() for _ in range(depth)]  # type: ignore[operator]
    if is_random:  # normal of variance 1 / (2 n m), as in hyperbolic networks before
        for layer in layers:
            weight = layer.weight
            inputs = weight[0].numel()
            nn.init.normal_(weight, std=1 / math.sqrt(2 * inputs * weight.shape[0]))
    return nn.Sequential(*layers)


@torch.no_grad()
def _decades(model: nn.Module, x: Tensor, dim: int) -> float:
    """Powers of ten by which the mean length changes."""
    before, after = x.norm(dim=dim).mean(), model(x).norm(dim=dim).mean()
    return abs(math.log10(max(float(after / before), 1e-300)))


def _timed(run: object) -> tuple[Tensor, float]:
    """The result, and the median of five runs."""
    times = []
    for _ in range(6):
        began = time.perf_counter()
        result: Tensor = run()  # type: ignore[operator]
        times.append(time.perf_counter() - began)
    return result, sorted(times[1:])[2]
