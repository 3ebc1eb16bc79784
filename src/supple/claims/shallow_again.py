"""Make Deep Networks Shallow Again (paper 23, 2309.08414): branches side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from supple.blocks.parallel_residual import ResidualStack
from supple.claims import Arms, Data, Rule, accuracy, best_lr, claim, digits, fit, seeded

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The grid and the length of the training.

    Attributes:
        lengths: Numbers of residual branches.
        filters: Channels.
        epochs: Passes over the training part.
    """

    lengths: tuple[int, ...] = (2, 4, 8)
    filters: tuple[int, ...] = (8, 16)
    epochs: int = 20


@claim(
    paper=23,
    says="A stack of residual layers trains to the same losses when its branches stand side by "
    "side instead of in a row.",
    reported="No systematic difference in 6,912 pairs on MNIST and CIFAR-10.",
    here="Stacks of 2 to 8 convolutions on 1,200 digits of 8x8 pixels, both layouts with the same "
    "parameters, first weights and batches, each at its own best learning rate. The mean over the "
    "grid is compared. So easy a task may hide a difference that the longest stacks would show.",
    rules=(
        Rule(metric="accuracy", method="side by side", baseline="in a row", expects="equal",
             margin=0.01),
        Rule(metric="training loss", method="side by side", baseline="in a row", better="lower",
             expects="not worse", margin=0.02),
    ),
    quick=Settings(lengths=(2, 4), filters=(8,), epochs=5),
    full=Settings(),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Both layouts over the grid."""
    data = digits(seed, images=True)
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in MODES}
    for length in settings.lengths:
        for filters in settings.filters:
            for arm, mode in MODES.items():
                found[arm].append(_trained(mode, length, filters, data, seed, settings.epochs))
    return {
        arm: {
            "accuracy": sum(a for a, _ in pairs) / len(pairs),
            "training loss": sum(loss for _, loss in pairs) / len(pairs),
        }
        for arm, pairs in found.items()
    }


Mode = Literal["sequential", "parallel"]
MODES: dict[str, Mode] = {"side by side": "parallel", "in a row": "sequential"}
_LRS = (3e-3, 1e-2)


def _trained(
    mode: Mode, length: int, filters: int, data: Data, seed: int, epochs: int
) -> tuple[float, float]:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, filters, 3, padding=1),
            ResidualStack(
                [
                    nn.Sequential(nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU())
                    for _ in range(length)
                ],
                mode=mode,
            ),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * filters, 10),
        )  # fmt: skip

    lr = best_lr(build, data, _LRS, seed=seed, epochs=epochs / 2)
    with seeded(seed, "weights"):
        model = build()
    fit(model, data, epochs=epochs, lr=lr, seed=seed)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.eval()(data.train_x), data.train_y)
    return accuracy(model, data), float(loss)
