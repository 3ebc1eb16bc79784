"""The handbook of sparse networks (paper 116, 2302.02596): its order of methods, measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, best_lr, claim, digits, fit
from supple.claims._small_networks import perceptron
from supple.compress.mask import apply_masks, full_masks
from supple.compress.prune import SET, Gradual, RigL, prune, pruner
from supple.compress.report import sparsity_report
from supple.compress.tickets import small_dense
from supple.elastic.training import Plain

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sparse, how long.

    Attributes:
        density: Share of the weights that is kept.
        hidden: Units of each of the two hidden layers.
        epochs: Of every training.
        lrs: Learning rates every arm may choose from.
        all_methods: Whether GraSP and SynFlow are there too.
    """

    density: float = 0.01
    hidden: int = 256
    epochs: int = 16
    lrs: tuple[float, ...] = (3e-3, 1e-2)
    all_methods: bool = True


@claim(
    paper=116,
    says="At equal numbers of parameters, a wide sparse network beats a small dense one, and "
    "dynamic sparse training beats a fixed random mask.",
    reported="A handbook without figures of its own: the order small dense, static, dynamic, and "
    "dense-to-sparse from the worst to the best, and Erdős–Rényi densities over equal ones.",
    here="Two hidden layers of 256 on 1,200 digits at 1 % of the weights: digits are easy, so that "
    "networks differ only when they are very sparse. Every arm has the same steps and chooses its "
    "learning rate on held-out data; the small dense network has as many parameters in all.",
    rules=(
        Rule(metric="accuracy", method="random erk", baseline="small dense", margin=0.01),
        Rule(metric="accuracy", method="set", baseline="random erk", margin=0.01),
        Rule(metric="accuracy", method="rigl", baseline="set", expects="not worse", margin=0.01),
        Rule(metric="accuracy", method="gradual", baseline="rigl", expects="not worse",
             margin=0.01),
        Rule(metric="accuracy", method="random erk", baseline="random uniform", margin=0.01),
    ),
    quick=Settings(density=0.02, epochs=8, lrs=(3e-3, 1e-2), all_methods=False),
    full=Settings(),
    figure=Dots(metric="accuracy"),
    tried="Both budgets were shortened, for all arms alike, to fit the time, before this evidence "
    "was measured; an earlier quick run was opposite too.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Every method on the same network, data and number of steps."""
    data = digits(seed)
    arms = {}
    for arm, (build, rule) in _arms(seed, settings, data).items():
        lr = best_lr(build, data, settings.lrs, seed=seed, epochs=settings.epochs, rule=rule(0.8))
        model = build()
        fit(model, data, epochs=settings.epochs, lr=lr, seed=seed, rule=rule(1.0))
        found = sparsity_report(model)
        arms[arm] = {
            "accuracy": accuracy(model, data),
            "parameters": float(found.parameters),
            "explored": 1.0 if found.explored is None else found.explored,
        }
    return arms


Arm = tuple[Callable[[], nn.Module], Callable[[float], Any]]


def _arms(seed: int, settings: Settings, data: Data) -> dict[str, Arm]:
    """Each arm: how its network is built, and its training rule for a share of the data."""
    wide = perceptron((64, settings.hidden, settings.hidden, 10), seed)
    batch = [(data.train_x[:256], data.train_y[:256])]
    ratio = 1 - settings.density
    kept = sum(p.numel() for p in wide.parameters() if p.dim() < 2)
    kept += prune(wide, ratio).report.kept

    def masked(method: str, scope: Any = "global", **more: Any) -> Callable[[], nn.Module]:
        chosen = pruner(method, seed=seed, **more)
        return lambda: prune(
            wide, ratio, method=chosen, scope=scope, example=data.train_x[:2], data=batch,
            loss=F.cross_entropy,
        ).network  # fmt: skip

    def steps(share: float) -> int:
        return round(settings.epochs * share * len(data.train_x) / 64)

    def plain(_: float) -> Any:
        return Plain()

    random = masked("random", "erk")
    arms: dict[str, Arm] = {
        "dense": (lambda: perceptron((64, settings.hidden, settings.hidden, 10), seed), plain),
        "small dense": (lambda: small_dense(wide, kept, data.train_x[:2], seed=seed), plain),
        "random uniform": (masked("random", "uniform"), plain),
        "random erk": (random, plain),
        "snip": (masked("snip"), plain),
        "set": (random, lambda share: SET(every=20, stop=round(0.75 * steps(share)))),
        "rigl": (random, lambda share: RigL(every=20, stop=round(0.75 * steps(share)))),
        "gradual": (
            lambda: apply_masks(perceptron((64, settings.hidden, settings.hidden, 10), seed),
                                full_masks(wide)),
            lambda share: Gradual(ratio=ratio, end=round(0.75 * steps(share)), every=20),
        ),
    }  # fmt: skip
    if settings.all_methods:
        arms["grasp"] = (masked("grasp"), plain)
        arms["synflow"] = (masked("synflow", rounds=50), plain)
    return arms
