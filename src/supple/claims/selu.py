"""SELU (paper 110, 1706.02515): deep plain networks train without normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from supple.blocks.self_normalizing import make_self_normalizing
from supple.claims import Arms, Data, Rule, accuracy, best_lr, claim, fit, seeded, table

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size of the networks and length of the training.

    Attributes:
        depth: Hidden layers.
        width: Units of each.
        epochs: Passes over the training part.
        tables: The data sets; the accuracy is the mean over them.
    """

    depth: int = 32
    width: int = 64
    epochs: int = 30
    tables: tuple[str, ...] = ("breast_cancer", "wine", "digits")


@claim(
    paper=110,
    says="Deep plain networks with SELU and matching first weights train better than with ReLU, "
    "and at least as well as with normalisation layers.",
    reported="Best average rank of eight kinds of network over 121 UCI data sets, often with 8 to "
    "32 layers.",
    here="Plain networks on three tables of scikit-learn, all arms at their own best learning "
    "rate. So deep, a plain ReLU network has trouble; the statistics of a layer's outputs at "
    "first weights are measured too.",
    rules=(
        Rule(metric="accuracy", method="selu", baseline="relu", margin=0.01),
        Rule(metric="accuracy", method="selu", baseline="relu + batch norm", expects="not worse",
             margin=0.02),
        Rule(metric="accuracy", method="selu", baseline="relu + layer norm", expects="not worse",
             margin=0.02),
        Rule(metric="distance from variance one", method="selu", baseline="relu", better="lower"),
    ),
    quick=Settings(depth=16, epochs=6, tables=("breast_cancer", "wine")),
    full=Settings(),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """The four kinds of network on the same splits."""
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    spread = dict.fromkeys(ARMS, 0.0)
    for name in settings.tables:
        data = table(name, seed)  # type: ignore[arg-type]
        for arm in ARMS:

            def build(arm: str = arm, data: Data = data) -> nn.Module:
                return _network(arm, data, settings)

            lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.epochs / 2)
            with seeded(seed, "weights"):
                model = build()
            spread[arm] += _distance(model, data.train_x) / len(settings.tables)
            fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
            found[arm].append(accuracy(model, data))
    return {
        arm: {
            "accuracy": sum(values) / len(values),
            "distance from variance one": spread[arm],
        }
        for arm, values in found.items()
    }


ARMS = ("selu", "relu", "relu + batch norm", "relu + layer norm")
_LRS = (1e-3, 5e-3)


def _network(arm: str, data: Data, settings: Settings) -> nn.Module:
    layers: list[nn.Module] = []
    size = data.features
    for _ in range(settings.depth):
        layers.append(nn.Linear(size, settings.width))
        if arm == "relu + batch norm":
            layers.append(nn.BatchNorm1d(settings.width))
        if arm == "relu + layer norm":
            layers.append(nn.LayerNorm(settings.width))
        layers.append(nn.ReLU())
        size = settings.width
    model = nn.Sequential(*layers, nn.Linear(size, data.outputs))
    if arm == "selu":
        return make_self_normalizing(model)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def _distance(model: nn.Module, x: torch.Tensor) -> float:
    """How many times the variance before the last layer is off one, as a logarithm."""
    assert isinstance(model, nn.Sequential)
    with torch.no_grad():
        hidden = model[:-1](x)
    return float(hidden.double().var().clamp_min(1e-30).log10().abs())
