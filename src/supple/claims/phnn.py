"""PHNN (paper 62, 2110.04176): hypercomplex convolutions with 1/n of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from supple.blocks.hypercomplex import PHConv2d
from supple.claims import (
    Arms,
    Rule,
    accuracy,
    best_lr,
    claim,
    digits,
    fit,
    parameters,
    seeded,
)

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size and length of the training.

    Attributes:
        width: Channels of the first stage; the second has twice as many.
        epochs: Passes over the training part.
    """

    width: int = 32
    epochs: int = 30


@claim(
    paper=62,
    says="Convolutions over a learned hypercomplex algebra reach the accuracy of real ones with "
    "about 1/n of the parameters, and at least that of quaternions.",
    reported="Equal or better accuracy than real and quaternion networks at 1/n of the parameters "
    "on SVHN, CIFAR-10 and sound event detection.",
    here="A network of three convolutions on 1,200 digits of 8x8 pixels; the first convolution "
    "and the classifier are real in all arms, which have their own best learning rate.",
    rules=(
        Rule(metric="accuracy", method="learned, n = 4", baseline="real", expects="not worse",
             margin=0.01),
        Rule(metric="accuracy", method="learned, n = 4", baseline="quaternion",
             expects="not worse", margin=0.005),
        Rule(metric="parameters of the convolutions", method="learned, n = 4", baseline="real",
             better="lower", scale="ratio", margin=3.5),
    ),
    quick=Settings(width=16, epochs=5),
    full=Settings(),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Real, learned (n = 2 and 4) and quaternion convolutions."""
    data = digits(seed, images=True)
    arms: dict[str, dict[str, float]] = {}
    for arm, convolution in CONVOLUTIONS.items():

        def build(convolution: Convolution = convolution) -> nn.Sequential:
            return _network(convolution, settings.width)

        lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.epochs / 2)
        with seeded(seed, "weights"):
            model = build()
        fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
        arms[arm] = {
            "accuracy": accuracy(model, data),
            "parameters of the convolutions": float(parameters(model[3]) + parameters(model[6])),
        }
    return arms


Convolution = Callable[[int, int], nn.Module]
_LRS = (3e-3, 1e-2)

CONVOLUTIONS: dict[str, Convolution] = {
    "real": lambda a, b: nn.Conv2d(a, b, 3, padding=1, bias=False),
    "learned, n = 2": lambda a, b: PHConv2d(a, b, 3, n=2, padding=1, bias=False),
    "learned, n = 4": lambda a, b: PHConv2d(a, b, 3, n=4, padding=1, bias=False),
    "quaternion": lambda a, b: PHConv2d(
        a, b, 3, n=4, algebra="quaternion", padding=1, bias=False
    ),
}  # fmt: skip


def _network(convolution: Convolution, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        convolution(width, 2 * width), nn.BatchNorm2d(2 * width), nn.Sequential(
            nn.ReLU(), nn.MaxPool2d(2)
        ),
        convolution(2 * width, 2 * width), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10),
    )  # fmt: skip
