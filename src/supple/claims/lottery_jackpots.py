"""Lottery jackpots (paper 100, 2104.08700): good masks lie in networks that are trained already."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit
from supple.claims._small_networks import small_resnet
from supple.compress.mask import apply_masks, mask_overlap
from supple.compress.prune import prune
from supple.compress.report import sparsity_report
from supple.compress.tickets import Jackpot, small_dense
from supple.elastic.training import Batches, Recipe

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sparse, and how long to search.

    Attributes:
        ratio: Share of the weights that is masked.
        epochs: Of the first training, and of the small dense network's.
        search: Epochs of a search.
        long: Epochs of the longer search from a random mask.
    """

    ratio: float = 0.9
    epochs: int = 10
    search: int = 8
    long: int = 24


@claim(
    paper=100,
    says="In a trained network a mask can be found, its weights untouched, that comes close to the "
    "dense accuracy; beginning with the largest weights finds it in a third of the time.",
    reported="ResNet-32 on CIFAR-10 with 90 % of the weights removed: 94.39 %, 93.70 % after 30 "
    "epochs instead of 160; at least three times cheaper from the magnitude mask (abstract).",
    here="A residual network of 7 convolutions on digits, 90 % masked, the last layer whole. "
    "Searches of equal length from the magnitude mask and from a random mask of the same "
    "densities, and a search three times as long from the random one. Baselines: the masks "
    "without a search, fine-tuning the weights under that mask for as long, a small dense network.",
    rules=(
        Rule(metric="accuracy", method="jackpot", baseline="dense", expects="not worse",
             margin=0.02),
        Rule(metric="accuracy", method="jackpot", baseline="from random, three times as long",
             expects="not worse", margin=0.005),
        Rule(metric="accuracy", method="jackpot", baseline="magnitude mask", margin=0.05),
        Rule(metric="accuracy", method="jackpot", baseline="small dense"),
        Rule(metric="accuracy", method="jackpot", baseline="fine-tuned", expects="not worse",
             margin=0.01),
    ),
    quick=Settings(epochs=5, search=3, long=9),
    full=Settings(),
    figure=Dots(metric="accuracy"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train once, then search and compare."""
    data = digits(seed, images=True)
    model = small_resnet(seed)
    fit(model, data, epochs=settings.epochs, lr=3e-3, seed=seed)
    arms = {"dense": {"accuracy": accuracy(model, data)}}
    searches = {
        "jackpot": (Jackpot(ratio=settings.ratio, protect=_LAST), settings.search),
        "without restriction": (
            Jackpot(ratio=settings.ratio, protect=_LAST, restriction="none"), settings.search,
        ),
        "from random": (
            Jackpot(ratio=settings.ratio, protect=_LAST, first="random"), settings.search,
        ),
        "from random, three times as long": (
            Jackpot(ratio=settings.ratio, protect=_LAST, first="random"), settings.long,
        ),
    }  # fmt: skip
    for arm, (search, epochs) in searches.items():
        found = search.fit(model, _batches(data, seed), F.cross_entropy, _recipe(epochs), seed=seed)
        arms[arm] = {
            "accuracy": accuracy(found.network, data),
            "overlap with the first mask": mask_overlap(found.masks, found.first),
        }
    arms |= _baselines(model, data, seed, settings)
    return arms


_LAST = ("head.*",)


def _baselines(
    model: nn.Module, data: Data, seed: int, settings: Settings
) -> dict[str, dict[str, float]]:
    masked = prune(model, settings.ratio, protect=_LAST).network
    kept = sparsity_report(masked).parameters
    arms = {"magnitude mask": {"accuracy": accuracy(masked, data)}}
    drawn = apply_masks(
        prune(model, 0.0).network,
        Jackpot(ratio=settings.ratio, protect=_LAST, first="random").first_masks(model, seed),
    )
    arms["random mask"] = {"accuracy": accuracy(drawn, data)}
    fit(masked, data, epochs=settings.search, lr=1e-3, seed=seed)
    arms["fine-tuned"] = {"accuracy": accuracy(masked, data)}
    small = small_dense(model, kept, data.train_x[:2], seed=seed)
    fit(small, data, epochs=settings.epochs + settings.search, lr=1e-2, seed=seed)
    arms["small dense"] = {"accuracy": accuracy(small, data)}
    return arms


def _batches(data: Data, seed: int) -> Batches:
    return Batches(data.train_x, data.train_y, batch_size=64, seed=seed)


def _recipe(epochs: int) -> Recipe:
    """The paper's, for scores."""
    return Recipe(epochs=epochs, lr=0.1, weight_decay=5e-4, warmup=0.0)
