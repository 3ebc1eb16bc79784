"""Iterative feature merging (paper 64, 2310.06756): like channels can become one, without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from supple.claims import Arms, Curve, Data, Lines, Rule, accuracy, claim, digits, fit, seeded
from supple.compress.prune import merge_channels
from supple.compress.tickets import redrawn
from supple.elastic import Elastic, Elasticity
from supple.elastic.importance import Magnitude, Random, Scorer
from supple.space import Config

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How wide, how long.

    Attributes:
        width: Channels of the last convolution.
        epochs: Of every training.
        shares: Largest shares of each layer's channels that are merged away.
    """

    width: int = 64
    epochs: int = 10
    shares: tuple[float, ...] = (0.25, 0.45, 0.65)


@claim(
    paper=64,
    says="Merging the channels that are most alike removes much of a network without data and "
    "without training, and loses less than removing the channels of least weight.",
    reported="VGG16 on CIFAR-10 at 23 % of the parameters: 91.78 % instead of 93.51 %, without "
    "data or fine-tuning; 5 to 10 % of ImageNet networks. Most distinct features in the middle.",
    here="Four convolutions with batch norm and a hidden layer on digits, with weight decay. "
    "All ways leave the same number of channels in each layer; the score is the mean accuracy over "
    "three shares of channels removed, nothing is trained afterwards. A small dense network, "
    "trained as long, shows what its size can do.",
    rules=(
        Rule(metric="mean accuracy", method="merged", baseline="least weight", margin=0.05),
        Rule(metric="mean accuracy", method="merged", baseline="random", margin=0.05),
        Rule(metric="loss of accuracy at a quarter removed", method="merged", baseline=0.05,
             better="lower"),
        Rule(metric="mean accuracy", method="merged", baseline="small dense"),
    ),
    quick=Settings(width=32, epochs=6, shares=(0.25, 0.5)),
    full=Settings(),
    figure=Lines(metric="accuracy", x="share of channels removed"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Merge, cut and drop the same number of channels."""
    data = digits(seed, images=True)
    model = _network(settings.width, seed)
    fit(model, data, epochs=settings.epochs, lr=3e-3, seed=seed, weight_decay=0.05)
    full = accuracy(model, data)
    found: dict[str, list[tuple[float, float]]] = {}
    for share in settings.shares:
        merged = merge_channels(model, data.train_x[:2], beta=1.0, most=share)
        networks: dict[str, nn.Module] = {"merged": merged.network}
        widths = merged.complexity
        for arm, scorer in (("least weight", Magnitude()), ("random", Random(seed=seed))):
            networks[arm] = _cut(model, widths, scorer, data)
        networks["small dense"] = redrawn(networks["random"], seed)
        fit(networks["small dense"], data, epochs=settings.epochs, lr=3e-3, seed=seed,
            weight_decay=0.05)  # fmt: skip
        for arm, network in networks.items():
            found.setdefault(arm, []).append((share, accuracy(network, data)))
    arms = {arm: _values(points, full) for arm, points in found.items()}
    arms["dense"] = {"mean accuracy": full}
    return arms


def _network(width: int, seed: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    with seeded(seed, "weights"):
        for i, out in enumerate((width // 2, width // 2, width, width)):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i % 2 else []
            channels = out
        layers += [nn.Flatten(), nn.Linear(4 * width, 2 * width), nn.ReLU()]
        layers += [nn.Linear(2 * width, 10)]
    return nn.Sequential(*layers)


def _cut(model: nn.Module, widths: Mapping[str, int], scorer: Scorer, data: Data) -> nn.Module:
    """The model with the best-scored channels, as many as given of each layer."""
    fine = Elasticity(
        ratios=tuple(i / 128 for i in range(1, 129)), multiple_of=1, depths=False, kernels=False
    )
    net = Elastic(model, (data.train_x[:2],), fine)
    net.reorder(scorer)
    config: Config = net.space.validate({**net.space.largest, **widths})
    return net.extract(config)


def _values(points: list[tuple[float, float]], full: float) -> dict[str, float | Curve]:
    values = torch.tensor([value for _, value in points], dtype=torch.float64)
    return {
        "mean accuracy": float(values.mean()),
        "loss of accuracy at a quarter removed": full - float(values[0]),
        "accuracy": [(0.0, full), *points],
    }
