"""SNNK (paper 45, 2310.13225): layers as random features, with a fraction of the weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks.snnk import FullyBundled, SNNKAdapter
from supple.claims import (
    Arms,
    Data,
    Dots,
    Rule,
    accuracy,
    best_lr,
    claim,
    digits,
    fit,
    parameters,
    seeded,
)

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train, and how many features the bundled network has."""

    epochs: int = 30
    search_epochs: int = 8
    features: int = 1000


@claim(
    paper=45,
    says="A layer of scalable kernels has five times fewer weights at about the accuracy of the "
    "layer that it replaces, and a fully bundled network is solved instead of trained.",
    reported="Up to five times fewer trainable parameters in adapters of BERT and ViT at equal "
    "accuracy.",
    here="A network of two hidden layers of 128 is trained to tell even digits from odd ones, and "
    "frozen; adapters after each layer and a new head then learn all ten. Kernel adapters have a "
    "fifth of the weights of the usual ones (two linear maps, 64 units between them); narrow "
    "adapters are usual ones of as many weights. Each at its best of three learning rates. The "
    "bundled network is ridge regression on random features of random features, beside a network "
    "of the same two layers trained from nothing.",
    rules=(
        Rule(metric="accuracy", method="kernel adapters", baseline="usual adapters",
             expects="not worse", margin=0.01),
        Rule(metric="accuracy", method="kernel adapters", baseline="narrow adapters", margin=0.0),
        Rule(metric="seconds", method="bundled", baseline="trained", better="lower",
             scale="ratio", margin=2.0, unit="s"),
        Rule(metric="accuracy", method="bundled", baseline="trained", expects="not worse",
             margin=0.03),
    ),
    quick=Settings(epochs=8, search_epochs=3, features=500),
    full=Settings(),
    figure=Dots(metric="accuracy"),
    tried="A kernel layer as the only hidden layer was measured first: its 13 random features were "
    "all that the head saw, so that it was 0.28 below the layer it replaced, and 0.27 below a "
    "narrow one. The paper's layers are adapters beside a frozen network, and so they are since "
    "then, under rules of the same margins that name these arms. The seconds are those of the "
    "final fit of both, as processor time; before, choosing the penalty was counted and choosing "
    "the learning rate was not. The bundled network has 1,000 features instead of 1,500 (quick: "
    "500 instead of 600), to fit the time.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Adapt the frozen network in four ways, and solve for the bundled one."""
    data = digits(seed)
    body = _frozen(data, seed, settings.epochs)
    found: dict[str, dict[str, float]] = {}
    for name, adapter in ADAPTERS.items():
        build = partial(_adapted, body, adapter)
        found[name] = _fitted(build, data, seed, settings)
    found["trained"] = _fitted(_network, data, seed, settings)
    found["bundled"] = _bundled(data, settings.features, seed)
    return found


_LRS = (1e-3, 3e-3, 1e-2)
_WIDTH, _FEATURES = 128, 26
_UNITS, _NARROW = 64, 13  # 26 x 128 weights are a fifth of 2 x 64 x 128, and 2 x 13 x 128


class _Usual(nn.Module):
    """``x + W2 relu(W1 x)``, which starts as the identity."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.down = nn.Linear(_WIDTH, units, bias=False)
        self.up = nn.Linear(units, _WIDTH, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.up(torch.relu(self.down(x)))
        return y


ADAPTERS: dict[str, Callable[[int], nn.Module]] = {
    "kernel adapters": lambda place: SNNKAdapter(
        d_model=_WIDTH, num_features=_FEATURES, seed=place
    ),
    "usual adapters": lambda place: _Usual(_UNITS),
    "narrow adapters": lambda place: _Usual(_NARROW),
    "head only": lambda place: nn.Identity(),
}


def _network(classes: int = 10) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
        nn.Linear(_WIDTH, classes),
    )  # fmt: skip


def _frozen(data: Data, seed: int, epochs: int) -> nn.Sequential:
    """Trained on whether a digit is odd; without its head, its weights fixed."""
    with seeded(seed, "body"):
        model = _network(classes=2)
    parity = replace(data, train_y=data.train_y % 2, test_y=data.test_y % 2, classes=2)
    fit(model, parity, epochs=epochs, lr=_LRS[1], seed=seed)
    return nn.Sequential(*list(model)[:-1]).requires_grad_(False)


def _adapted(body: nn.Sequential, adapter: Callable[[int], nn.Module]) -> nn.Module:
    own = copy.deepcopy(body)
    return nn.Sequential(own[:2], adapter(0), own[2:], adapter(1), nn.Linear(_WIDTH, 10))


def _fitted(
    build: Callable[[], nn.Module], data: Data, seed: int, settings: Settings
) -> dict[str, float]:
    lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.search_epochs)
    with seeded(seed, "weights"):
        model = build()
    began = time.process_time()
    fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
    return {
        "accuracy": accuracy(model, data),
        "seconds": time.process_time() - began,
        "weights": float(parameters(model)),
    }


def _bundled(data: Data, features: int, seed: int) -> dict[str, float]:
    """Solved on four fifths with each of three penalties, then with the best one on all."""
    net = FullyBundled(
        in_features=64, out_features=10, num_features=(features, features), seed=seed
    )
    goal = F.one_hot(data.train_y, 10).float()
    cut = len(goal) * 4 // 5
    shares = []
    for ridge in _RIDGES:
        net.fit_ridge(data.train_x[:cut], goal[:cut], ridge=ridge)
        with torch.no_grad():
            right = net(data.train_x[cut:]).argmax(1) == data.train_y[cut:]
        shares.append(float(right.float().mean()))
    began = time.process_time()
    net.fit_ridge(data.train_x, goal, ridge=_RIDGES[shares.index(max(shares))])
    return {
        "accuracy": accuracy(net, data),
        "seconds": time.process_time() - began,
        "weights": float(net.theta.numel()),
    }


_RIDGES = (1e-3, 1e-1, 10.0)
