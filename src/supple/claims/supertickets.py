"""SuperTickets (paper 81, 2207.03677): widths and weights found in one training."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit
from supple.claims._small_networks import small_resnet
from supple.compress.mask import apply_masks, masks_of
from supple.compress.prune import prune
from supple.compress.report import sparsity_report
from supple.compress.tickets import (
    SuperTicket,
    redrawn,
    shuffled,
    small_dense,
    transfer_masks,
)
from supple.elastic.training import Batches, Recipe

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sparse, how long.

    Attributes:
        ratio: Share of the weights of the found structure that is masked.
        epochs: Of the one training; the others have as many in all.
        width: Channels of the network.
        events: Events of a training.
        rho: Weight of the penalty on the scales.
    """

    ratio: float = 0.9
    epochs: int = 16
    width: int = 12
    events: int = 12
    rho: float = 2e-3


@claim(
    paper=81,
    says="Searching widths and pruning weights in one training gives a better sparse network than "
    "doing one after the other, without any retraining, and its masks serve another task.",
    reported="Better trade-offs of accuracy and cost than search followed by pruning, on three "
    "tasks and four data sets, with or without retraining (abstract).",
    here="A residual network of 7 convolutions with batch norms on digits, 90 % of the weights "
    "masked. All arms have the same number of epochs in all: search then pruning, with and without "
    "retraining; pruning alone; the found structure with a random mask; a small dense network. "
    "Transfer: odd or even from 200 images, with the old masks or random ones on the trained body.",
    rules=(
        Rule(metric="accuracy", method="joint", baseline="search, then prune", margin=0.01),
        Rule(metric="accuracy", method="joint", baseline="search, prune, retrain",
             expects="not worse", margin=0.01),
        Rule(metric="accuracy", method="joint", baseline="random mask", margin=0.01),
        Rule(metric="accuracy", method="joint", baseline="small dense", margin=0.01),
        Rule(metric="accuracy of odd or even", method="joint", baseline="random mask", margin=0.01),
    ),
    quick=Settings(epochs=6, events=10, width=8),
    full=Settings(),
    figure=Dots(metric="accuracy"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """One training against two."""
    data = digits(seed, images=True)
    model = small_resnet(seed, width=settings.width)
    joint = _search(model, data, seed, settings, ratio=settings.ratio, epochs=settings.epochs)
    kept = sparsity_report(joint).parameters
    arms = {
        "joint": {
            "accuracy": accuracy(joint, data),
            "parameters": float(kept),
            "accuracy of odd or even": _transferred(joint, data, seed),
        }
    }
    # The search alone, in the same steps; then its weights are pruned to as many as the joint's.
    found = _search(model, data, seed, settings, ratio=0.0, epochs=settings.epochs)
    arms["search, then prune"] = {"accuracy": accuracy(_pruned_to(found, kept), data)}
    half = _search(model, data, seed, settings, ratio=0.0, epochs=settings.epochs // 2)
    retrained = _pruned_to(half, kept)
    _fit(retrained, data, seed, settings.epochs - settings.epochs // 2)
    arms["search, prune, retrain"] = {"accuracy": accuracy(retrained, data)}
    only = _search(model, data, seed, replace(settings, rho=0.0), ratio=settings.ratio,
                   epochs=settings.epochs)  # fmt: skip
    arms["prune only"] = {"accuracy": accuracy(only, data)}
    drawn = apply_masks(redrawn(joint, seed), shuffled(masks_of(joint), seed))
    _fit(drawn, data, seed, settings.epochs)
    arms["random mask"] = {
        "accuracy": accuracy(drawn, data),
        "accuracy of odd or even": _transferred(
            apply_masks(copy.deepcopy(joint), masks_of(drawn)), data, seed
        ),
    }
    small = small_dense(model, kept, data.train_x[:2], seed=seed)
    _fit(small, data, seed, settings.epochs)
    arms["small dense"] = {"accuracy": accuracy(small, data)}
    return arms


def _search(
    model: nn.Module, data: Data, seed: int, settings: Settings, *, ratio: float, epochs: int
) -> nn.Module:
    batches = Batches(data.train_x, data.train_y, batch_size=64, seed=seed)
    steps = epochs * len(batches)
    search = SuperTicket(
        ratio=ratio, step=0.1, every=-(-steps // settings.events), rho=settings.rho, threshold=1e-2
    )
    recipe = Recipe(epochs=epochs, lr=_LR)
    found = search.run(model, batches, F.cross_entropy, recipe, example=data.train_x[:2], seed=seed)
    return found.network


_LR = 0.05


def _fit(model: nn.Module, data: Data, seed: int, epochs: int) -> None:
    fit(model, data, epochs=epochs, lr=_LR, seed=seed, optimizer="sgd")


def _pruned_to(model: nn.Module, kept: int) -> nn.Module:
    """The smallest weights go until as many parameters are left."""
    now = sparsity_report(model)
    return prune(model, min(1.0, max(0.0, 1 - (kept - now.other) / now.kept))).network


def _transferred(masked: nn.Module, data: Data, seed: int) -> float:
    """Accuracy at telling odd from even, learned from 200 images with the trained weights."""
    new = copy.deepcopy(masked)
    old = new.get_submodule("head")
    head = nn.Linear(int(old.in_features), 2)  # type: ignore[arg-type]
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    new.head = head
    transfer_masks(masked, new)
    parity = replace(
        data, train_x=data.train_x[:200], train_y=data.train_y[:200] % 2, test_y=data.test_y % 2,
        classes=2,
    )  # fmt: skip
    fit(new, parity, epochs=10, lr=1e-3, seed=seed)
    return accuracy(new, parity)
