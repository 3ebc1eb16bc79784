"""Meta-pruning (paper 39, 2506.12041): a network that makes networks easy to prune."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.compress.prune import prune
from supple.compress.prune.meta_pruning import (
    GraphMetaNetwork,
    NetworkGraph,
    group_sparsity,
    train_metanetwork,
)
from supple.compress.tickets import redrawn
from supple.elastic.training import Batches, StepContext

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How many networks, how long.

    Attributes:
        models: Networks the meta-network learns from.
        epochs: Of the first training of every network.
        meta: Epochs of the meta-network, over all models.
        tune: Epochs of each of the two fine-tunings.
        ratio: Share of the parameters that goes.
        width: Channels of the last convolution.
        hidden: Features inside of the meta-network.
    """

    models: int = 3
    epochs: int = 10
    meta: int = 8
    tune: int = 6
    ratio: float = 0.7
    width: int = 24
    hidden: int = 16


@claim(
    paper=39,
    says="One pass through a meta-network that was trained on other networks makes a network "
    "easier to prune by magnitude, before and after the last fine-tuning.",
    reported="State-of-the-art trade-offs on ResNet-56 with CIFAR-10, VGG-19 with CIFAR-100 and "
    "ResNet-50 with ImageNet (abstract).",
    here="Three convolutions on 1,200 digits; a meta-network learns from three trained networks "
    "and serves a fourth, of which 70 % of the parameters go. Same pruner and fine-tuning without "
    "it, with the penalty it was trained with in ordinary training, random channels, and a small "
    "dense network drawn anew. Trained with the same number of steps.",
    rules=(
        Rule(metric="accuracy before fine-tuning", method="meta", baseline="plain", margin=0.03),
        Rule(metric="accuracy", method="meta", baseline="plain", margin=0.005),
        Rule(metric="accuracy before fine-tuning", method="meta", baseline="penalty"),
        Rule(metric="accuracy", method="meta", baseline="random", margin=0.005),
        Rule(metric="accuracy", method="meta", baseline="small dense", margin=0.005),
    ),
    quick=Settings(models=2, epochs=5, meta=3, tune=3, width=16, hidden=12),
    full=Settings(),
    figure=Dots(metric="accuracy before fine-tuning"),
    tried="Both budgets were shortened, for all arms alike, to fit the time, before this evidence "
    "was measured.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train networks, the meta-network, and prune one more network in every way."""
    data = digits(seed, images=True)
    models = [_trained(seed, number, data, settings) for number in range(settings.models + 1)]
    with seeded(seed, "metanet"):
        metanet = GraphMetaNetwork(hidden=settings.hidden, layers=3, residual=0.05)
    batches = [*Batches(data.train_x, data.train_y, batch_size=128, seed=seed)]
    train_metanetwork(
        metanet, models[:-1], batches, epochs=settings.meta, strength=_STRENGTH, lr=3e-3
    )
    model = models[-1]
    with torch.no_grad():
        changed = metanet(NetworkGraph.of(model)).apply_to(model)
    arms = {
        "meta": _pruned(changed, data, seed, settings),
        "plain": _pruned(model, data, seed, settings),
        "penalty": _pruned(model, data, seed, settings, rule=_Penalty()),
        "random": _pruned(model, data, seed, settings, method="random"),
    }
    small = prune(
        model, settings.ratio, structured=True, scope="uniform", example=data.train_x[:2]
    ).network
    small = redrawn(small, seed)
    fit(small, data, epochs=settings.epochs + 2 * settings.tune, lr=3e-3, seed=seed)
    arms["small dense"] = {"accuracy": accuracy(small, data)}
    arms["dense"] = {"accuracy": accuracy(model, data)}
    return arms


_STRENGTH = 3e-3


def _trained(seed: int, number: int, data: Data, settings: Settings) -> nn.Sequential:
    wide = settings.width
    with seeded(seed, "network", number):
        model = nn.Sequential(
            nn.Conv2d(1, wide // 2, 3, padding=1), nn.BatchNorm2d(wide // 2), nn.ReLU(),
            nn.Conv2d(wide // 2, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(wide, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10),
        )  # fmt: skip
    fit(model, data, epochs=settings.epochs, lr=3e-3, seed=seed * 100 + number)
    return model


@dataclass(frozen=True)
class _Penalty:
    """Training with the meta-network's penalty on the weights themselves."""

    name = "group_sparsity"
    takes_teacher = False

    def __call__(
        self, net: nn.Module, batch: tuple[Tensor, Tensor], step: StepContext
    ) -> Iterator[Tensor]:
        """Yield the one loss."""
        inputs, targets = batch
        graph = NetworkGraph.of(net)
        state = dict(net.named_parameters())
        weights = tuple(
            state[f"{name}.weight"].reshape(*edge.shape[:2], -1)
            for name, edge in zip(graph.layers, graph.edges, strict=True)
        )
        live = NetworkGraph(
            nodes=graph.nodes, edges=weights, layers=graph.layers, norms=graph.norms
        )
        yield step.loss(net(inputs), targets) + _STRENGTH * group_sparsity(live)


def _pruned(
    model: nn.Module, data: Data, seed: int, settings: Settings, *, method: str = "magnitude",
    rule: _Penalty | None = None,
) -> dict[str, float]:  # fmt: skip
    """Fine-tune, prune, fine-tune."""
    tuned = copy.deepcopy(model)
    fit(tuned, data, epochs=settings.tune, lr=1e-3, seed=seed, rule=rule)
    found = prune(
        tuned, settings.ratio, method=method, structured=True, example=data.train_x[:2], seed=seed
    )
    small = found.network
    before = accuracy(small, data)
    fit(small, data, epochs=settings.tune, lr=1e-3, seed=seed + 1)
    return {
        "accuracy before fine-tuning": before,
        "accuracy": accuracy(small, data),
        "parameters": float(found.parameters_after),
    }
