"""Sparse experts (paper 79, 2204.09598): many domains, one network of experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks.moe import SwitchFFN, collect_aux_losses
from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, seeded
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train."""

    steps: int = 2000


@claim(
    paper=79,
    says="Sparse experts make a network better outside of the domains it was trained on than a "
    "dense network of the same cost, and a balance loss keeps all experts in use.",
    reported="Question answering out of domain: F1 53.48 with experts and augmentation, 9.5 % "
    "(relative) above the baseline without both.",
    here="Digits instead of text: four training domains (plain, turned by a quarter, inverted, "
    "noisy) and two with a hundred examples each (blurred, turned upside down), on which is "
    "tested. A residual feed-forward layer of 64 units in a network of width 64: dense, dense with "
    "four times the units, and four experts of 64 units with and without the balance loss. No "
    "augmentation, which the paper's figure includes.",
    rules=(
        Rule(metric="accuracy outside", method="experts", baseline="dense", margin=0.01),
        Rule(metric="load spread", method="experts", baseline="no balance", better="lower",
             margin=0.2),
        Rule(metric="accuracy outside", method="experts", baseline="dense x4",
             expects="not worse", margin=0.01),
    ),
    quick=Settings(steps=250),
    full=Settings(),
    full_seeds=8,
    figure=Dots(metric="accuracy outside"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train the four networks on the same mixture of domains."""
    data = digits(seed, images=True)
    draw = torch_generator(seed, "domains")
    train, inside, outside = _mixture(data, draw)
    found = {}
    for arm in ("experts", "no balance", "dense", "dense x4"):
        with seeded(seed, "weights"):
            model = _network(arm)
        _train(model, train, settings.steps, seed)
        found[arm] = {
            "accuracy outside": accuracy(model, outside),
            "accuracy inside": accuracy(model, inside),
        }
        for layer in model.modules():
            if isinstance(layer, SwitchFFN):
                found[arm]["load spread"] = _spread(model, layer, inside.test_x)
    return found


def _network(arm: str) -> nn.Module:
    ffn: nn.Module
    if arm.startswith("dense"):
        hidden = 256 if arm.endswith("x4") else 64
        ffn = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 64))
    else:
        weight = 0.01 if arm == "experts" else 0.0
        ffn = SwitchFFN(
            in_features=64, hidden_features=64, num_experts=4, capacity_factor=2.0,
            balance_weight=weight,
        )  # fmt: skip
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        _Residual(ffn),
        nn.LayerNorm(64),
        nn.Linear(64, 10),
    )


class _Residual(nn.Module):
    """``x + f(x)``: tokens that no expert has room for go on as they are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(x)
        return y


def _mixture(data: Data, draw: torch.Generator) -> tuple[Data, Data, Data]:
    """What is trained on, a test of the same domains, and a test of the other two."""

    def noisy(x: Tensor) -> Tensor:
        return x + 0.8 * torch.randn(x.shape, generator=draw)

    seen: list[Callable[[Tensor], Tensor]] = [
        lambda x: x, lambda x: x.rot90(1, (2, 3)), lambda x: -x, noisy
    ]  # fmt: skip
    other: list[Callable[[Tensor], Tensor]] = [
        lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), lambda x: x.flip(2)
    ]  # fmt: skip
    xs = [change(data.train_x) for change in seen]
    ys = [data.train_y] * len(seen)
    for i, change in enumerate(other):
        few = slice(100 * i, 100 * i + 100)
        xs.append(change(data.train_x[few]))
        ys.append(data.train_y[few])
    train = replace(data, train_x=torch.cat(xs), train_y=torch.cat(ys))
    tests = [
        replace(
            train,
            test_x=torch.cat([change(data.test_x) for change in changes]),
            test_y=data.test_y.repeat(len(changes)),
        )
        for changes in (seen, other)
    ]
    return train, tests[0], tests[1]


def _train(model: nn.Module, data: Data, steps: int, seed: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = torch_generator(seed, "batches")
    for _ in range(steps):
        part = torch.randint(len(data.train_x), (128,), generator=draw)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data.train_x[part]), data.train_y[part])
        balance = collect_aux_losses(model)
        torch.autograd.backward(loss if balance is None else loss + balance)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _spread(model: nn.Module, layer: SwitchFFN, x: Tensor) -> float:
    """How unevenly experts are used: the spread of their load, relative to its mean."""
    model.eval()
    model(x)
    return float(layer.router_stats["load_cv"])
