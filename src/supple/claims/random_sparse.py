"""Random search for sparse networks (paper 86, 2403.08265): picking a mask early does not pay."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.claims import Arms, Data, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.search import RandomSearch
from supple.seeds import generator
from supple.space import Config, Space, Width
from supple.study import Study

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sparse, and how many masks are looked at.

    Attributes:
        sparsities: Shares of the hidden units that a mask removes.
        masks: Random masks from which the best is picked.
        epochs: Of every training.
        hidden: Units of each of the two hidden layers.
    """

    sparsities: tuple[float, ...] = (0.5, 0.8, 0.9, 0.95, 0.98)
    masks: int = 200
    epochs: int = 20
    hidden: int = 512


@claim(
    paper=86,
    says="The mask with the lowest loss before training, out of many random ones, trains to no "
    "better a network than a mask that was not picked.",
    reported="No gain in final quality or in convergence over random masks of equal sparsity, and "
    "a high level of quality at high sparsity (abstract).",
    here="Two hidden layers of 512 on digits; a mask keeps the same number of units in each. 200 "
    "masks are tried on the training part by their loss before any training. The picked and the "
    "first mask of each search are trained alike; figures are means over five sparsities from "
    "50 to 98 %.",
    rules=(
        Rule(metric="accuracy", method="picked", baseline="random", expects="equal", margin=0.01),
        Rule(metric="epochs to a loss of 0.35", method="picked", baseline="random", expects="equal",
             scale="ratio", margin=1.25),
        Rule(metric="loss before training", method="picked", baseline="random", better="lower"),
    ),
    quick=Settings(sparsities=(0.8, 0.95), masks=50, epochs=10, hidden=256),
    full=Settings(),
    full_seeds=10,
    figure=Dots(metric="accuracy"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Pick a mask by its loss before training, and train it beside one that was not picked."""
    data = digits(seed)
    parent = _network(settings.hidden, seed)
    sums: dict[str, dict[str, float]] = {"picked": {}, "random": {}}
    for sparsity in settings.sparsities:
        kept = max(1, round((1 - sparsity) * settings.hidden))
        for arm, draw in _draws(parent, data, kept, seed, settings).items():
            model = _masked(parent, kept, seed, draw)
            for metric, value in _trained(model, data, seed, settings.epochs).items():
                share = value / len(settings.sparsities)
                sums[arm][metric] = sums[arm].get(metric, 0.0) + share
    return {**sums, "dense": _trained(parent, data, seed, settings.epochs)}


def _draws(
    parent: nn.Sequential, data: Data, kept: int, seed: int, settings: Settings
) -> dict[str, int]:
    """The numbers of two masks: the one with the lowest loss, and the first that was tried."""
    # A mask is the number of a random draw; random search tries some of so many.
    space = Space({"draw": Width(options=tuple(range(1, 10_001)), size=10_000)})

    def evaluate(config: Config) -> dict[str, float]:
        return {"loss": _loss(_masked(parent, kept, seed, int(config["draw"])), data)}

    study = Study.open(space=space, directions={"loss": "min"})
    study.run(evaluate, RandomSearch(space=space, seed=seed), evaluations=settings.masks)
    if study.interrupted:
        raise KeyboardInterrupt
    best = min(study.trials, key=lambda trial: trial.values["loss"])
    return {"picked": int(best.config["draw"]), "random": int(study.trials[0].config["draw"])}


def _network(hidden: int, seed: int) -> nn.Sequential:
    with seeded(seed, "parent"):
        return nn.Sequential(
            nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 10),
        )  # fmt: skip


def _masked(parent: nn.Sequential, kept: int, seed: int, draw: int) -> nn.Sequential:
    """The parent with ``kept`` random units in each hidden layer, and the parent's weights."""
    rng = generator(seed, "mask", kept, draw)
    linear = [layer for layer in parent if isinstance(layer, nn.Linear)]
    hidden = linear[0].out_features
    rows = [torch.from_numpy(rng.choice(hidden, kept, replace=False)).sort().values
            for _ in range(2)]  # fmt: skip
    outs = [*rows, torch.arange(10)]
    ins = [torch.arange(64), *rows]
    layers: list[nn.Module] = []
    for layer, out, into in zip(linear, outs, ins, strict=True):
        small = nn.Linear(len(into), len(out))
        with torch.no_grad():
            small.weight.copy_(layer.weight[out][:, into])
            small.bias.copy_(layer.bias[out])
        layers += [small, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _loss(model: nn.Module, data: Data) -> float:
    with torch.no_grad():
        outputs: Tensor = model(data.train_x)
        return float(F.cross_entropy(outputs, data.train_y))


def _trained(model: nn.Sequential, data: Data, seed: int, epochs: int) -> dict[str, float]:
    """Loss before training, epochs until it is low, and the accuracy at the end."""
    before, reached = _loss(model, data), float(epochs)
    found = fit(model, data, epochs=epochs, lr=1e-3, seed=seed)
    per_epoch = max(1, len(found.losses) // epochs)
    # Read off the mean over the last epoch of steps; a loss of 0.35 is about 90 % named right.
    means = [sum(found.losses[i : i + per_epoch]) / per_epoch
             for i in range(len(found.losses) - per_epoch + 1)]  # fmt: skip
    for step, value in enumerate(means):
        if value < 0.35:
            reached = step / per_epoch + 1
            break
    return {
        "loss before training": before,
        "epochs to a loss of 0.35": reached,
        "accuracy": accuracy(model, data),
    }
