"""Stitchable networks (paper 54, 2302.06586): many sizes between trained ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F

from supple.claims import Arms, Data, Rule, accuracy, claim, digits, seeded
from supple.claims._residual_family import batches, model, recipe, stack_of
from supple.compress.join import StitchedNet
from supple.elastic.training import Plain, SortedNet, train

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The family and the training.

    Attributes:
        widths: Of the anchors.
        depth: Of all.
        anchor_epochs: Passes for each anchor.
        epochs: Passes of training all together.
        images: Training images; few, so that sizes differ in accuracy.
    """

    widths: tuple[int, ...] = (8, 16, 32)
    depth: int = 6
    anchor_epochs: int = 30
    epochs: int = 20
    images: int = 400


@claim(
    paper=54,
    says="Stitching layers solved from activations make a family of trained networks into many "
    "networks of sizes between, after a short training together.",
    reported="71 networks between DeiT-Ti, -S and -B on ImageNet whose accuracies lie between "
    "those of the anchors.",
    here="Residual networks of widths 8, 16 and 32 and depth 6 on 400 digits. The mean accuracy "
    "of all networks of the family. Random stitching layers, and small dense networks trained for "
    "themselves on as many passes in all as one network of the family gets, are beside it.",
    rules=(
        Rule(metric="mean accuracy", method="least squares", baseline="random", margin=0.01),
        Rule(metric="before training", method="least squares", baseline="random", margin=0.2),
        Rule(metric="mean accuracy", method="least squares", baseline="smallest anchor",
             margin=0.0),
        Rule(metric="mean accuracy", method="least squares", baseline="trained for themselves",
             expects="not worse", margin=0.01),
    ),
    quick=Settings(widths=(8, 16), depth=3, anchor_epochs=8, epochs=5),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """The family with both beginnings."""
    data = digits(seed, train=settings.images)
    anchors = []
    for width in settings.widths:
        with seeded(seed, "weights", width):
            anchor = model(width, settings.depth)
        train(
            anchor, batches(data, seed), F.cross_entropy, Plain(),
            recipe(settings.anchor_epochs, 5e-3), seed=seed,
        )  # fmt: skip
        anchors.append(anchor)
    found: dict[str, dict[str, float]] = {
        "smallest anchor": {"mean accuracy": accuracy(anchors[0], data)},
        "largest anchor": {"mean accuracy": accuracy(anchors[-1], data)},
        "trained for themselves": {"mean accuracy": _alone(data, seed, settings)},
    }
    for how in ("least squares", "random"):
        net = StitchedNet(anchors, [stack_of(settings.depth)] * len(anchors))
        with seeded(seed, "stitches"):
            net.initialise(data.train_x[:100], how=how)
        before = _all(net, data)
        train(
            net, batches(data, seed), F.cross_entropy, SortedNet(accumulate=1),
            recipe(settings.epochs, 1e-3), seed=seed,
        )  # fmt: skip
        found[how] = {
            "before training": before, "mean accuracy": _all(net, data),
            "worst": min(_each(net, data)),
        }  # fmt: skip
    return found


def _each(net: StitchedNet, data: Data) -> list[float]:
    net.eval()
    return [accuracy(net.at({"network": name}), data) for name in net.space["network"].options]


def _all(net: StitchedNet, data: Data) -> float:
    return float(np.mean(_each(net, data)))


def _alone(data: Data, seed: int, settings: Settings) -> float:
    """Networks of widths between, trained for themselves; the passes of one stitched network."""
    share = settings.epochs / 4 + settings.anchor_epochs
    scores = []
    low, high = settings.widths[0], settings.widths[-1]
    for width in (low, (low + high) // 2, high):
        with seeded(seed, "alone", width):
            network = model(width, settings.depth)
        train(
            network, batches(data, seed), F.cross_entropy, Plain(), recipe(share, 5e-3), seed=seed
        )
        scores.append(accuracy(network, data))
    return float(np.mean(scores))
