"""SNNK (paper 45, 2310.13225): layers as random features, with a fraction of the weights."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from supple.blocks.snnk import FullyBundled, SNNKLinear
from supple.claims import Arms, Data, Dots, Rule, accuracy, best_lr, claim, digits, fit, seeded

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train, and how many features the bundled network has."""

    epochs: int = 30
    search_epochs: int = 8
    features: int = 1500


@claim(
    paper=45,
    says="A layer of scalable kernels has five times fewer weights at about the accuracy of the "
    "layer that it replaces, and a fully bundled network is solved instead of trained.",
    reported="Up to five times fewer trainable parameters in adapters of BERT and ViT at equal "
    "accuracy.",
    here="Digits (1,200 of 64 pixels): a hidden layer of 128 ReLUs, 8,320 weights; the kernel "
    "layer in its place has 13 random features, 1,664 weights; a narrow ReLU layer has as many "
    "weights as the kernel layer with its head. Each at its best of three learning rates. The "
    "bundled network is ridge regression on random features of random features.",
    rules=(
        Rule(metric="accuracy", method="kernel layer", baseline="relu layer", expects="not worse",
             margin=0.01),
        Rule(metric="accuracy", method="kernel layer", baseline="narrow relu", margin=0.0),
        Rule(metric="seconds", method="bundled", baseline="relu layer", better="lower",
             scale="ratio", margin=2.0, unit="s"),
        Rule(metric="accuracy", method="bundled", baseline="relu layer", expects="not worse",
             margin=0.03),
    ),
    quick=Settings(epochs=8, search_epochs=3, features=600),
    full=Settings(),
    figure=Dots(metric="accuracy"),
    tried="Thirteen features are all that the next layer sees: in the middle of a small network "
    "they are a bottleneck, unlike in an adapter beside a large one, the paper's setting. Solving "
    "the bundled network costs the cube of its features, which a small network does not repay.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train the three hidden layers, and solve for the bundled network."""
    data = digits(seed)
    builds = {"kernel layer": _kernel, "relu layer": _relu, "narrow relu": _narrow}
    found: dict[str, dict[str, float]] = {}
    for name, build in builds.items():
        lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.search_epochs)
        with seeded(seed, "weights"):
            model = build()
        done = fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
        found[name] = {
            "accuracy": accuracy(model, data),
            "seconds": done.seconds,
            "weights": float(sum(p.numel() for p in model.parameters())),
        }
    found["bundled"] = _bundled(data, settings.features, seed)
    return found


_LRS = (1e-3, 3e-3, 1e-2)
_HIDDEN, _FEATURES = 128, 13
_NARROW = 39  # 75 weights for each unit: as many as the kernel layer with its head


def _relu() -> nn.Module:
    return nn.Sequential(nn.Linear(64, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 10))


def _narrow() -> nn.Module:
    return nn.Sequential(nn.Linear(64, _NARROW), nn.ReLU(), nn.Linear(_NARROW, 10))


def _kernel() -> nn.Module:
    layer = SNNKLinear(in_features=64, out_features=_HIDDEN, num_features=_FEATURES)
    return nn.Sequential(layer, nn.Linear(_HIDDEN, 10))


def _bundled(data: Data, features: int, seed: int) -> dict[str, float]:
    """Solved on four fifths with each of three penalties, then with the best one on all."""
    net = FullyBundled(
        in_features=64, out_features=10, num_features=(features, features), seed=seed
    )
    goal = F.one_hot(data.train_y, 10).float()
    began = time.perf_counter()
    cut = len(goal) * 4 // 5
    shares = []
    for ridge in _RIDGES:
        net.fit_ridge(data.train_x[:cut], goal[:cut], ridge=ridge)
        with torch.no_grad():
            right = net(data.train_x[cut:]).argmax(1) == data.train_y[cut:]
        shares.append(float(right.float().mean()))
    net.fit_ridge(data.train_x, goal, ridge=_RIDGES[shares.index(max(shares))])
    return {
        "accuracy": accuracy(net, data),
        "seconds": time.perf_counter() - began,
        "weights": float(net.theta.numel()),
    }


_RIDGES = (1e-3, 1e-1, 10.0)
