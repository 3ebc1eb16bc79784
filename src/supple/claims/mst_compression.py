"""MST compression (paper 20, 2308.13735): binary channels computed from one another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.claims import Arms, Data, Rule, accuracy, best_lr, claim, digits, fit, seeded
from supple.compress.quantize import BinaryLinear, MSTPlan, MSTRegularizer, signs

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        hidden: Width of the hidden layers.
        epochs: Passes.
        strengths: Of the penalty; the better of them on held-out data would be a choice, so both
            are shown and the first is the claim's.
    """

    hidden: int = 128
    epochs: int = 20
    strengths: tuple[float, ...] = (0.3, 3.0)


@claim(
    paper=20,
    says="A penalty on the length of the channels' spanning tree makes binary layers need far "
    "fewer operations, at little loss of accuracy.",
    reported="Large savings of parameters and bit operations on VGG-small and ResNets for CIFAR-10 "
    "with negligible loss.",
    here="A network with two binary layers of 128 on 1,200 digits. Operations are counted per "
    "input, against computing each channel in full; a tree of random signs, and a plain binary "
    "network so narrow that it needs no more operations, are beside it.",
    rules=(
        Rule(metric="operations", method="penalty", baseline="tree after training", better="lower",
             margin=0.1),
        Rule(metric="accuracy", method="penalty", baseline="tree after training",
             expects="not worse", margin=0.01),
        Rule(metric="operations", method="tree after training", baseline="random signs",
             better="lower", margin=0.02),
        Rule(metric="accuracy", method="penalty", baseline="narrow", expects="not worse",
             margin=0.01),
    ),
    quick=Settings(hidden=64, epochs=6),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """With and without the penalty, and the narrow network."""
    data = digits(seed)
    hidden = settings.hidden
    lr = best_lr(lambda: _Network(hidden), data, _LRS, seed=seed, epochs=settings.epochs / 2)
    found: dict[str, dict[str, float]] = {}
    plain = _trained(hidden, 0.0, data, seed, settings.epochs, lr)
    found["tree after training"] = _figures(plain, data)
    found["no reuse"] = {"accuracy": accuracy(plain, data), "operations": 1.0}
    with seeded(seed, "random signs"):
        found["random signs"] = {"operations": _ratio(_Network(hidden))}
    for number, strength in enumerate(settings.strengths):
        model = _trained(hidden, strength, data, seed, settings.epochs, lr)
        found["penalty" if not number else f"penalty {strength:g}"] = _figures(model, data)
    # Two layers of hidden x hidden operations: a share r of them is what width hidden sqrt(r) has.
    narrow = max(4, math.floor(hidden * math.sqrt(found["penalty"]["operations"])))
    model = _trained(narrow, 0.0, data, seed, settings.epochs, lr)
    found["narrow"] = {
        "accuracy": accuracy(model, data), "operations": (narrow / hidden) ** 2,
    }  # fmt: skip
    return found


_LRS = (3e-3, 1e-2)


class _Network(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Linear(64, hidden), nn.BatchNorm1d(hidden)
        self.layers = [
            BinaryLinear(in_features=hidden, out_features=hidden, rule="sign") for _ in range(2)
        ]
        self.binary = nn.ModuleList(self.layers)
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(2))
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.hardtanh(norm(layer(x)))
        scores: Tensor = self.head(x)
        return scores


def _trained(
    hidden: int, strength: float, data: Data, seed: int, epochs: int, lr: float
) -> _Network:
    with seeded(seed, "weights"):
        model = _Network(hidden)
    weights = [layer.weight for layer in model.layers]
    penalty = MSTRegularizer(weights, strength=strength, every=20) if strength else None

    def loss(outputs: Any, targets: Any) -> Tensor:
        value = F.cross_entropy(outputs, targets)
        return value if penalty is None else value + penalty()

    fit(model, data, epochs=epochs, lr=lr, seed=seed, loss=loss)
    return model


def _ratio(model: _Network) -> float:
    plans = [MSTPlan.of(signs(layer.weight.detach())) for layer in model.layers]
    whole = sum(plan.channels * plan.inputs for plan in plans)
    return sum(plan.operations for plan in plans) / whole


def _figures(model: _Network, data: Data) -> dict[str, float]:
    with torch.no_grad():
        return {"accuracy": accuracy(model, data), "operations": _ratio(model)}
