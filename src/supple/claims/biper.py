"""BiPer (paper 55, 2404.01278): binary weights trained through a sine, in two stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from supple.claims import Arms, Data, Rule, accuracy, best_lr, claim, digits, fit, seeded
from supple.compress.quantize import (
    BinaryConv2d,
    binarization_error,
    set_stage_,
)

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        channels: Of the binary convolutions.
        epochs: Passes in all; two thirds of them are the first stage where there are two.
    """

    channels: int = 24
    epochs: int = 24


@claim(
    paper=55,
    says="Binary networks whose weights are signs of a sine, trained in two stages, are more "
    "accurate than with plain signs and straight-through gradients.",
    reported="Up to 1 point on CIFAR-10 and 0.69 on ImageNet over earlier binary networks.",
    here="Two binary convolutions between a float one and a float classifier on 1,200 digits of "
    "8x8 pixels; equal epochs in all arms, each at its own best learning rate. A float network "
    "that takes as many bits, and weights that stay as they were drawn, are beside them.",
    rules=(
        Rule(metric="accuracy", method="two stages", baseline="sign", margin=0.003),
        Rule(metric="accuracy", method="two stages", baseline="one stage", margin=0.0),
        Rule(metric="accuracy", method="two stages", baseline="small float", margin=0.003),
        Rule(metric="accuracy", method="two stages", baseline="random signs", margin=0.01),
        Rule(metric="binarization error", method="frequency 40", baseline="frequency 10",
             better="lower", margin=0.01),
    ),
    quick=Settings(channels=12, epochs=6),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """All arms on one split."""
    data = digits(seed, images=True)

    def binary(rule: str, frequency: float = 20.0) -> Callable[[], nn.Module]:
        return lambda: _network(settings.channels, rule, frequency)

    arms: dict[str, tuple[Callable[[], nn.Module], bool]] = {
        "two stages": (binary("biper"), True),
        "one stage": (binary("biper"), False),
        "frequency 10": (binary("biper", 10.0), True),
        "frequency 40": (binary("biper", 40.0), True),
        "sign": (binary("sign"), False),
        "random signs": (lambda: _frozen(settings.channels), False),
        # Weights of 32 bits instead of one: a fifth of the channels has about as many bits.
        "small float": (lambda: _network(max(2, settings.channels // 5), "float"), False),
        "float": (lambda: _network(settings.channels, "float"), False),
    }
    found: dict[str, dict[str, float]] = {}
    for arm, (build, staged) in arms.items():
        lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.epochs / 3)
        with seeded(seed, "weights"):
            model = build()
        _train(model, data, settings.epochs, lr, seed, staged)
        found[arm] = {
            "accuracy": accuracy(model, data),
            "binarization error": binarization_error(model),
        }
    return found


_LRS = (3e-3, 1e-2)


def _train(model: nn.Module, data: Data, epochs: float, lr: float, seed: int, staged: bool) -> None:
    if not staged:
        fit(model, data, epochs=epochs, lr=lr, seed=seed)
        return
    set_stage_(model, 1)
    fit(model, data, epochs=epochs * 2 / 3, lr=lr, seed=seed)
    set_stage_(model, 2)
    fit(model, data, epochs=epochs / 3, lr=lr / 3, seed=seed)


def _network(channels: int, rule: str, frequency: float = 20.0) -> nn.Module:
    def convolution(stride: int) -> nn.Module:
        if rule == "float":
            return nn.Conv2d(channels, channels, 3, padding=1, stride=stride, bias=False)
        return BinaryConv2d(
            in_channels=channels, out_channels=channels, kernel_size=3, padding=1, stride=stride,
            rule="sign" if rule == "sign" else "biper", frequency=frequency,
        )  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.Hardtanh(),
        convolution(2), nn.BatchNorm2d(channels), nn.Hardtanh(),
        convolution(1), nn.BatchNorm2d(channels), nn.Hardtanh(),
        nn.Flatten(), nn.Linear(channels * 16, 10),
    )  # fmt: skip


def _frozen(channels: int) -> nn.Module:
    model = _network(channels, "sign")
    for part in model.modules():
        if isinstance(part, BinaryConv2d):
            part.weight.requires_grad_(False)
            with torch.no_grad():
                part.weight.clamp_(-1, 1)
    return model
