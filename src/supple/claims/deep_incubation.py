"""Deep incubation (paper 115, 2212.04129): a deep network trained in pieces."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Rule, accuracy, claim, digits, seeded
from supple.claims._residual_family import batches, model, recipe
from supple.compress.join import DeepIncubation
from supple.elastic.training import Plain, train

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        width: Of all networks.
        depth: Blocks of the deep network, in ``modules`` modules.
        modules: How many.
        epochs: Passes of each of the three phases.
        images: Training images; few, where the paper sees the largest gain.
    """

    width: int = 32
    depth: int = 24
    modules: int = 4
    epochs: int = 15
    images: int = 400


@claim(
    paper=115,
    says="A deep network trained module by module beside a shallow one, then briefly as a whole, "
    "is better than one trained end to end at the same cost.",
    reported="ViT-Huge on ImageNet: 2.7 points more than end to end at 43 % less cost.",
    here="A residual network of 24 blocks in 4 modules on 400 digits. Cost is blocks times passes; "
    "the one trained end to end gets as much as all phases together. Modules trained beside an "
    "untrained shallow network are the control, and the shallow network itself the small one.",
    rules=(
        Rule(metric="accuracy", method="incubated", baseline="end to end", margin=0.003),
        Rule(metric="before training", method="incubated", baseline="random partner", margin=0.1),
        Rule(metric="accuracy", method="incubated", baseline="random partner", margin=0.0),
        Rule(metric="accuracy", method="incubated", baseline="shallow", margin=0.0),
    ),
    quick=Settings(width=16, depth=8, modules=2, epochs=4),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Incubated, beside a random partner, and end to end."""
    data = digits(seed, train=settings.images)
    found = {
        "incubated": _incubated(data, seed, settings, is_meta_trained=True),
        "random partner": _incubated(data, seed, settings, is_meta_trained=False),
    }
    modules, depth = settings.modules, settings.depth
    # Blocks that run: the meta model's, in phase two a module and the other meta blocks, then all.
    blocks = modules + modules * (depth / modules + modules - 1) + depth
    with seeded(seed, "weights"):
        whole = model(settings.width, depth)
    found["end to end"] = {
        "accuracy": _trained(whole, data, seed, settings.epochs * blocks / depth)
    }
    with seeded(seed, "weights"):
        shallow = model(settings.width, modules)
    epochs = settings.epochs * blocks / modules
    found["shallow"] = {"accuracy": _trained(shallow, data, seed, min(epochs, 200))}
    return found


_LR = 3e-3


def _trained(network: nn.Module, data: Data, seed: int, epochs: float) -> float:
    train(network, batches(data, seed), F.cross_entropy, Plain(), recipe(epochs, _LR), seed=seed)
    return accuracy(network, data)


def _incubated(
    data: Data, seed: int, settings: Settings, *, is_meta_trained: bool
) -> dict[str, float]:
    loader, phase = batches(data, seed), recipe(settings.epochs, _LR)
    per_module = settings.depth // settings.modules
    with seeded(seed, "weights"):
        incubation = DeepIncubation(
            lambda blocks: model(settings.width, blocks), [per_module] * settings.modules,
            example=data.train_x[:2],
        )  # fmt: skip
    if is_meta_trained:
        incubation.train_meta(loader, F.cross_entropy, phase, seed=seed)
    for module in range(settings.modules):
        incubation.train_module(module, loader, F.cross_entropy, phase, seed=seed)
    whole = incubation.assemble()
    before = accuracy(whole, data)
    return {
        "before training": before,
        "accuracy": _trained(whole, data, seed, settings.epochs),
    }
