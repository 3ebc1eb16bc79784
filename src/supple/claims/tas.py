"""Transformable architecture search (paper 10, 1905.09717): searched widths, then a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.compress.prune import prune
from supple.compress.prune.transformable import ConvSizes, SearchableConvNet, WidthDepthSearch
from supple.elastic.training import Batches, Distil, Recipe, train
from supple.measure import MACs
from supple.seeds import generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How small, how long.

    Attributes:
        target: Multiplications of the small network, as a share.
        search: Epochs of the search, over halves of the data.
        epochs: Of every other training.
        stages: Width and convolutions of each stage.
        draws: Random sizes at the target that are trained; their mean counts.
    """

    target: float = 0.3
    search: int = 16
    epochs: int = 14
    stages: tuple[tuple[int, int], ...] = ((12, 1), (24, 1), (32, 2))
    draws: int = 2


@claim(
    paper=10,
    says="Widths found by search, trained with the full network as teacher, give a better small "
    "network than widths cut alike, and the teacher helps.",
    reported="ResNet-56 on CIFAR-10 at about half the operations: 93.7 %, ahead of pruning by hand "
    "and by magnitude.",
    here="Four convolutions of 12, 24, 32 and 32 channels on 1,200 digits, cut to 30 % of the "
    "multiplications. The same teacher, recipe and steps for searched widths, widths cut alike and "
    "random widths at the same cost; and widths cut by weight magnitude, which keeps its weights.",
    rules=(
        Rule(metric="accuracy", method="searched", baseline="uniform", margin=0.005),
        Rule(metric="accuracy", method="searched", baseline="random widths", margin=0.005),
        Rule(metric="accuracy", method="searched", baseline="searched, no teacher", margin=0.002),
        Rule(metric="accuracy", method="searched", baseline="magnitude", margin=0.0),
    ),
    quick=Settings(search=6, epochs=4, draws=1),
    full=Settings(),
    full_seeds=4,
    figure=Dots(metric="accuracy"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Search, and train every network of the same cost."""
    data = digits(seed, images=True)
    with seeded(seed, "search"):
        net = SearchableConvNet(stages=settings.stages)
    with seeded(seed, "teacher"):
        teacher = net.plain(net.largest())
    fit(teacher, data, epochs=settings.epochs, lr=5e-3, seed=seed)
    search = WidthDepthSearch(
        target=settings.target, epochs=settings.search, size_lr=0.05, lr=0.05, batch_size=32
    )
    found = search.fit(net, data.train_x, data.train_y, seed=seed)
    target = float(net.macs(found))  # what the search came to; all others have no more
    arms: dict[str, dict[str, float]] = {}
    for arm, sizes, taught in (
        ("searched", found, True),
        ("searched, no teacher", found, False),
        ("uniform", _uniform(net, target), True),
    ):
        value = _trained(net, sizes, teacher if taught else None, data, seed, settings)
        arms[arm] = {"accuracy": value, "macs": float(net.macs(sizes))}
    drawn = [_random(net, target, seed, draw) for draw in range(settings.draws)]
    values = [_trained(net, sizes, teacher, data, seed, settings) for sizes in drawn]
    arms["random widths"] = {
        "accuracy": sum(values) / len(values),
        "macs": sum(net.macs(sizes) for sizes in drawn) / len(drawn),
    }
    arms["magnitude"] = _pruned(teacher, target, data, seed, settings)
    arms["teacher"] = {"accuracy": accuracy(teacher, data), "macs": float(net.macs(net.largest()))}
    return arms


def _trained(
    net: SearchableConvNet, sizes: ConvSizes, teacher: nn.Module | None, data: Data, seed: int,
    settings: Settings,
) -> float:  # fmt: skip
    with seeded(seed, "small"):
        model = net.plain(sizes)
    _learn(model, teacher, data, seed, settings.epochs)
    return accuracy(model, data)


def _learn(model: nn.Module, teacher: nn.Module | None, data: Data, seed: int, epochs: int) -> None:
    if teacher is None:
        fit(model, data, epochs=epochs, lr=5e-3, seed=seed)
        return
    batches = Batches(data.train_x, data.train_y, batch_size=64, seed=seed)
    recipe = Recipe(epochs=epochs, optimizer="adamw", lr=5e-3)
    train(model, batches, F.cross_entropy, Distil(), recipe, teacher=teacher, seed=seed)


def _uniform(net: SearchableConvNet, target: float) -> ConvSizes:
    """The widest network with all widths cut by one ratio, not over the target."""
    best = net.smallest()
    for share in range(10, 101):
        widths = tuple(
            tuple(max(1, width * share // 100) for width in stage) for stage in net.largest().widths
        )
        if net.macs(ConvSizes(widths=widths)) <= target:
            best = ConvSizes(widths=widths)
    return best


def _random(net: SearchableConvNet, target: float, seed: int, draw: int) -> ConvSizes:
    """Random widths between 90 % of the target and the target."""
    rng = generator(seed, "random widths", draw)
    while True:
        widths = tuple(
            tuple(int(rng.integers(max(1, width // 4), width + 1)) for width in stage)
            for stage in net.largest().widths
        )
        if 0.9 * target <= net.macs(ConvSizes(widths=widths)) <= target:
            return ConvSizes(widths=widths)


def _pruned(
    teacher: nn.Module, target: float, data: Data, seed: int, settings: Settings
) -> dict[str, float]:
    """The teacher's widths cut by magnitude to the same cost, then trained on."""
    low, high = 0.0, 0.98
    for _ in range(6):
        middle = (low + high) / 2
        small = prune(teacher, middle, structured=True, example=data.train_x[:2]).network
        low, high = (low, middle) if _macs(small, data) <= target else (middle, high)
    small = prune(teacher, high, structured=True, example=data.train_x[:2]).network
    macs = _macs(small, data)
    _learn(small, teacher, data, seed, settings.epochs)
    return {"accuracy": accuracy(small, data), "macs": macs}


def _macs(model: nn.Module, data: Data) -> float:
    return MACs(example=data.train_x[:1]).measure(model).value
