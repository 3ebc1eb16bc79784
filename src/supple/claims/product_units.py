"""Product units (paper 44, 2401.15377): small readable networks for power laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from supple.blocks.product_unit import ProductUnitNet, standard_error_of_prediction
from supple.claims import Arms, Rule, claim, parameters, seeded
from supple.seeds import generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size and effort.

    Attributes:
        hidden: Units of the hidden layer, of every kind.
        starts: First weights tried; the best on the training part is tested.
        steps: Steps of L-BFGS from each.
        examples: Examples of the training part.
    """

    hidden: int = 4
    starts: int = 8
    steps: int = 150
    examples: int = 120


@claim(
    paper=44,
    says="Among small one-layer networks, product units predict best, and one network for all "
    "tasks is as good as one for each.",
    reported="Best of the simple models on the sound of induction motors: mean SEP 13.1 %, ten "
    "inputs.",
    here="The motor data are not public. Four tasks made of power laws of five inputs with 5 % "
    "noise, as physical quantities of a machine are, and the diabetes table, whose law is not "
    "known. All kinds of unit get as many hidden units, the same starts and steps of L-BFGS, and "
    "a linear output solved by least squares.",
    rules=(
        Rule(metric="SEP, power laws", method="product", baseline="sigmoid", better="lower",
             scale="ratio", margin=1.1),
        Rule(metric="SEP, power laws", method="product", baseline="radial", better="lower",
             scale="ratio", margin=1.1),
        Rule(metric="SEP, power laws", method="product", baseline="product, one for each task",
             better="lower", scale="ratio", expects="not worse", margin=1.1),
        Rule(metric="SEP, diabetes", method="product", baseline="sigmoid", better="lower",
             scale="ratio", expects="not worse", margin=1.05),
    ),
    quick=Settings(starts=3, steps=40),
    full=Settings(),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Three kinds of unit on made and on real data."""
    motor, diabetes = _motor(seed, settings.examples), _diabetes(seed)
    arms: dict[str, dict[str, float]] = {}
    for arm in UNITS:
        sep, size = _best(arm, motor, seed, settings, settings.hidden)
        arms[arm] = {
            "SEP, power laws": sep,
            "SEP, diabetes": _best(arm, diabetes, seed, settings, settings.hidden)[0],
            "parameters": size,
        }
    alone = [
        _best("product", tuple(y[:, t : t + 1] if i % 2 else y for i, y in enumerate(motor)),
              seed, settings, max(1, settings.hidden // 4))[0]
        for t in range(motor[1].shape[1])
    ]  # fmt: skip
    arms["product, one for each task"] = {"SEP, power laws": sum(alone) / len(alone)}
    return arms


Parts = tuple[Tensor, ...]  # training inputs and targets, test inputs and targets


class _Other(nn.Module):
    """Sigmoid or radial units and a linear map, the head solved as that of product units is."""

    def __init__(self, kind: str, features: int, tasks: int, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        self.units = nn.Linear(features, hidden)
        self.width = nn.Parameter(torch.zeros(hidden))
        nn.init.normal_(self.units.weight)
        if kind == "radial":
            nn.init.uniform_(self.units.weight, 1.0, 2.0)
            self.units.bias.requires_grad_(False)
        else:
            self.width.requires_grad_(False)
        self.head = nn.Linear(hidden, tasks)

    def hidden(self, x: Tensor) -> Tensor:
        if self.kind == "sigmoid":
            return torch.sigmoid(self.units(x))
        apart = torch.cdist(x, self.units.weight).square()
        return torch.exp(-0.5 * apart * torch.exp(self.width))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.hidden(x))
        return y


UNITS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "product": lambda features, tasks, hidden: ProductUnitNet(
        features, tasks, hidden_features=hidden
    ),
    "sigmoid": lambda features, tasks, hidden: _Other("sigmoid", features, tasks, hidden),
    "radial": lambda features, tasks, hidden: _Other("radial", features, tasks, hidden),
}


def _best(
    arm: str, parts: Parts, seed: int, settings: Settings, hidden: int
) -> tuple[float, float]:
    """SEP on the test part of the start with the lowest training error, and the parameters."""
    x, y, test_x, test_y = parts
    found = []
    for start in range(settings.starts):
        with seeded(seed, "start", start):
            model = UNITS[arm](x.shape[1], y.shape[1], hidden).double()
        found.append((_trained(model, x, y, settings.steps), model))
    _, model = min(found, key=lambda pair: pair[0])
    with torch.no_grad():
        sep = standard_error_of_prediction(model(test_x), test_y)
    return float(sep.mean()), float(parameters(model))


def _trained(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> float:
    """Trains all weights together after the head was solved; the relative training error."""
    scale = y.std(0)
    with torch.no_grad():
        units = model.units(x) if isinstance(model, ProductUnitNet) else _other(model).hidden(x)
        known = torch.cat([units, torch.ones_like(units[:, :1])], 1)
        solved = torch.linalg.lstsq(known, y).solution
        assert isinstance(model.head, nn.Linear)
        model.head.weight.copy_(solved[:-1].T)
        model.head.bias.copy_(solved[-1])
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.LBFGS(weights, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = ((model(x) - y) / scale).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        error = float(((model(x) - y) / scale).square().mean())
    return error if error == error else float("inf")


def _other(model: nn.Module) -> _Other:
    assert isinstance(model, _Other)
    return model


def _motor(seed: int, examples: int) -> Parts:
    """Four quantities that are power laws of five inputs from 1 to 2, with 5 % of noise."""
    rng = generator(seed, "motor")
    powers = rng.uniform(-2, 2, size=(3, 5))  # three products that the tasks share
    shares = rng.uniform(0.5, 2.0, size=(3, 4))
    x = rng.uniform(1, 2, size=(examples + 1000, 5))
    clean = np.exp(np.log(x) @ powers.T) @ shares + 2
    noisy = clean * (1 + 0.05 * rng.standard_normal(clean.shape))
    parts = (x[:examples], noisy[:examples], x[examples:], clean[examples:])
    return tuple(torch.from_numpy(part) for part in parts)


def _diabetes(seed: int) -> Parts:
    """The table, its inputs scaled to 1 to 2 by the training part."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    rows = generator(seed, "diabetes").permutation(len(x))
    train, test = rows[:310], rows[310:]
    low, high = x[train].min(0), x[train].max(0)
    x = np.clip(1 + (x - low) / (high - low), 0.5, 2.5)
    parts = (x[train], y[train, None], x[test], y[test, None])
    return tuple(torch.from_numpy(part) for part in parts)
