"""Multi-output heads (paper 80, 2208.13029): several answers, the best one is punished."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks.multi_output import (
    MultiOutputHead,
    best_of_heads_loss,
    oracle_metric,
    single_head_metric,
)
from supple.claims import Arms, Dots, Rule, claim, digits, seeded
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train."""

    steps: int = 1500
    ambiguous_steps: int = 1000


@claim(
    paper=80,
    says="Training only the best of several outputs restores blurred images better than a single "
    "output does, by the best output of each image and also by the one best output for all.",
    reported="Over the baselines on GoPro: 0.11 to 0.18 dB by the best output of each image, 0.04 "
    "to 0.08 dB by the best single output.",
    here="Digits of 8x8 pixels blurred by a random line of motion, with noise; networks of three "
    "convolutions of 24 channels on the same batches, one with a single output and one with four "
    "and their averages. The best of each image needs the answer and is an oracle. Beside it, the "
    "two roots of a number, which a single output can only average.",
    rules=(
        Rule(metric="psnr of one output", method="four outputs", baseline="one output",
             margin=0.04, unit="dB"),
        Rule(metric="psnr of the best", method="four outputs", baseline="one output",
             margin=0.1, unit="dB"),
        Rule(metric="error of roots", method="four outputs", baseline="one output",
             better="lower", scale="ratio", margin=5.0),
    ),
    quick=Settings(steps=150, ambiguous_steps=300),
    full=Settings(),
    figure=Dots(metric="psnr of one output"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Restore the same images, and solve the same equation, with one output and with four."""
    data = digits(seed, images=True)
    draw = torch_generator(seed, "blur")
    train, test = (_blurred(x, draw) for x in (data.train_x, data.test_x))
    found = {}
    for arm, heads in (("one output", 1), ("four outputs", 4)):
        with seeded(seed, "weights"):
            body = nn.Sequential(
                nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
                nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
            )  # fmt: skip
            last = nn.Conv2d(24, 1, 3, padding=1)
            model = nn.Sequential(body, MultiOutputHead(head=last, num_heads=heads))
        _train(model, train, data.train_x, settings.steps, seed)
        with torch.no_grad():
            answers = model(test) + test.unsqueeze(1)
        found[arm] = {
            "psnr of one output": _psnr(single_head_metric(answers, data.test_x), data.test_x),
            "psnr of the best": _psnr(oracle_metric(answers, data.test_x), data.test_x),
            "error of roots": _roots(heads, settings.ambiguous_steps, seed),
        }
    return found


def _blurred(x: Tensor, draw: torch.Generator) -> Tensor:
    """Each image along a line of its own, with noise."""
    angle = torch.rand(len(x), generator=draw) * math.pi
    length = 1 + 2 * torch.rand(len(x), generator=draw)
    total = torch.zeros_like(x)
    for t in torch.linspace(-1, 1, 7).tolist():
        shift = t * length * 2 / x.shape[-1]
        zero, one = torch.zeros_like(shift), torch.ones_like(shift)
        rows = (one, zero, shift * angle.cos()), (zero, one, shift * angle.sin())
        theta = torch.stack([torch.stack(row, -1) for row in rows], 1)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        total += F.grid_sample(x, grid, padding_mode="border", align_corners=False) / 7
    return total + 0.05 * torch.randn(x.shape, generator=draw)


def _train(model: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = torch_generator(seed, "batches")
    for _ in range(steps):
        part = torch.randint(len(x), (64,), generator=draw)
        optimizer.zero_grad()
        answers = model(x[part]) + x[part].unsqueeze(1)
        loss = best_of_heads_loss(answers, y[part], "psnr")
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _psnr(error: float, target: Tensor) -> float:
    return 10 * math.log10(float(target.max() - target.min()) ** 2 / error)


def _roots(heads: int, steps: int, seed: int) -> float:
    """The oracle's error for ``y = plus or minus sqrt(x)``, in units of the variance of y."""
    draw = torch_generator(seed, "roots")
    x = torch.rand((1024, 1), generator=draw)
    y = x.sqrt() * (torch.rand(x.shape, generator=draw) < 0.5).float().mul(2).sub(1)
    with seeded(seed, "roots"):
        head = MultiOutputHead(head=nn.Linear(32, 1), num_heads=heads, combine=False)
        model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), head)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = best_of_heads_loss(model(x[:512]), y[:512])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return oracle_metric(model(x[512:]), y[512:]) / float(y.var())
