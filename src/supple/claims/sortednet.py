"""SortedNet (paper 75, 2309.00255): one training, very many networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from supple import Elastic
from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.claims._residual_mlp import ResidualMLP
from supple.elastic.training import Plain, Sandwich, SortedNet
from supple.elastic.training import Rule as TrainingRule
from supple.seeds import generator
from supple.space import Config

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train, and how many sub-networks to look at.

    Attributes:
        epochs: Of every arm; the sandwich rule has a quarter of them, since it passes four times
            through the network in a step.
        sub_networks: Random sub-networks measured; smallest and largest are always there.
        alone: How many of them are also trained alone.
    """

    epochs: int = 24
    sub_networks: int = 40
    alone: int = 3


@claim(
    paper=75,
    says="One training of nested sub-networks, without any teacher, serves very many networks "
    "close to the quality of the full one.",
    reported="160 sub-networks at 96 % of the full network's performance or more (abstract); in "
    "the comparison with networks trained one by one, about equal.",
    here="A residual network of four blocks on 1,200 digits, elastic in depth (1 to 4 blocks) and "
    "in every width (a quarter to all): 19,600 sub-networks, of which random ones are tested. All "
    "arms have the same learning rate and batches and as many passes through a network. The full "
    "network's performance is that of ordinary training.",
    rules=(
        Rule(metric="share of the full accuracy", method="sorted", baseline=0.96),
        Rule(metric="accuracy of sub-networks", method="sorted", baseline="trained alone",
             expects="not worse", margin=0.02),
        Rule(metric="mean accuracy", method="sorted", baseline="sandwich",
             expects="not worse", margin=0.01),
        Rule(metric="mean accuracy", method="sorted", baseline="full only", margin=0.1),
    ),
    quick=Settings(epochs=6, sub_networks=10, alone=2),
    full=Settings(),
    figure=Dots(metric="mean accuracy", title="mean accuracy of sub-networks"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train by four ways and look at the same sub-networks of each."""
    data = digits(seed)
    rules: dict[str, tuple[TrainingRule, float]] = {
        "sorted": (SortedNet(), settings.epochs),
        "sandwich": (Sandwich(), settings.epochs / 4),  # four passes in a step, not one
        "full only": (Plain(), settings.epochs),
    }
    nets = {}
    for arm, (rule, epochs) in rules.items():
        nets[arm] = Elastic(_network(seed), (data.train_x[:4],))
        fit(nets[arm], data, epochs=epochs, lr=_LR, seed=seed, rule=rule)

    space = nets["sorted"].space
    rng = generator(seed, "sub-networks")
    configs = [space.sample(rng=rng) for _ in range(settings.sub_networks)]
    few = configs[: settings.alone]
    configs += [space.smallest, space.largest]
    full = _accuracy(nets["full only"], space.largest, data)

    arms: dict[str, dict[str, float]] = {}
    for arm, net in nets.items():
        found = [_accuracy(net, config, data) for config in configs]
        arms[arm] = {
            "mean accuracy": _mean(found),
            "share of the full accuracy": _mean(found) / full,
            "accuracy of sub-networks": _mean(found[: settings.alone]),
            "accuracy of the smallest": found[-2],
            "accuracy of the full": found[-1],
        }
    alone = [_alone(config, seed, data, settings.epochs) for config in few]
    arms["trained alone"] = {"accuracy of sub-networks": _mean(alone)}
    return arms


_LR = 3e-3


def _network(seed: int) -> nn.Module:
    with seeded(seed, "weights"):
        return ResidualMLP(in_features=64, classes=10, width=64, hidden=128, depth=4)


def _accuracy(net: Elastic, config: Config, data: Data) -> float:
    net.eval()
    return accuracy(net.at(config), data)


def _alone(config: Config, seed: int, data: Data, epochs: float) -> float:
    """The accuracy of a network of this shape that was trained on its own."""
    with seeded(seed, "weights"):
        model = ResidualMLP.sized(config, in_features=64, classes=10)
    fit(model, data, epochs=epochs, lr=_LR, seed=seed)
    return accuracy(model, data)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
