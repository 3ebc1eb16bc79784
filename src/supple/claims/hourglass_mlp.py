"""Hourglass MLP (paper 9, 2510.01796): the shortcut at the wide end, the branches narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from supple.blocks.hourglass_mlp import HourglassMLP, ResidualMLP
from supple.claims import Arms, Data, Dots, Rule, claim, digits, fit, match_width, seeded
from supple.seeds import generator, torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Budgets and search effort.

    Attributes:
        budgets: Trainable parameters of the networks.
        tries: Configurations drawn for each family and budget.
        epochs: Passes over the training part.
    """

    budgets: tuple[int, ...] = (10_000, 30_000, 100_000)
    tries: int = 4
    epochs: int = 30


@claim(
    paper=9,
    says="At equal numbers of trained parameters, residual MLPs with a wide shortcut and narrow "
    "branches restore images better than conventional ones, and a frozen random lift suffices.",
    reported="The hourglass family dominates the front of parameters and PSNR on MNIST and "
    "ImageNet-32 tasks; freezing the lift costs almost nothing.",
    here="Denoising of 8x8 digits (noise 0.3 on pixels of 0 to 1). For each budget both families "
    "get as many random configurations, trained alike; the best on held-out images is tested. The "
    "paper's effect is a few tenths of a decibel and may be smaller at this scale.",
    rules=(
        Rule(metric="PSNR", method="hourglass", baseline="conventional", margin=0.1, unit="dB"),
        Rule(metric="PSNR", method="hourglass", baseline="trained lift", expects="not worse",
             margin=0.2, unit="dB"),
    ),
    quick=Settings(budgets=(10_000,), tries=3, epochs=12),
    full=Settings(),
    figure=Dots(metric="PSNR", title="PSNR of the best configuration, dB"),
    tried="The full budget was shortened before it was ever run, for all arms alike: 4 networks "
    "tried per kind and size instead of 6, 30 epochs instead of 40.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """The best of the configurations of each family, averaged over budgets."""
    data = _noisy(seed)
    part = data.held_out()
    found: dict[str, list[float]] = {"hourglass": [], "conventional": [], "trained lift": []}
    for budget in settings.budgets:
        rng = generator(seed, "configurations", budget)
        wide = [_hourglass(int(rng.integers(1, 6)), int(rng.choice(_LATENT)), budget)
                for _ in range(settings.tries)]  # fmt: skip
        plain = [_conventional(int(rng.integers(1, 6)), budget) for _ in range(settings.tries)]
        families = {"hourglass": wide, "conventional": plain}
        for arm, builds in families.items():
            scores = [_psnr(build, part, seed, settings.epochs) for build in builds]
            best = builds[max(range(len(builds)), key=scores.__getitem__)]
            found[arm].append(_psnr(best, data, seed, settings.epochs))
            if arm == "hourglass":
                trained = partial(best, False)
                found["trained lift"].append(_psnr(trained, data, seed, settings.epochs))
    return {arm: {"PSNR": sum(values) / len(values)} for arm, values in found.items()}


_LATENT = (96, 128, 192, 256)  # above the 64 pixels of an image
_NOISE = 0.3
_LR = 3e-3

Build = Callable[..., nn.Module]


def _hourglass(depth: int, latent: int, budget: int) -> Build:
    def sized(bottleneck: int, freeze: bool = True) -> nn.Module:
        return HourglassMLP(
            64, 64, latent_features=latent, bottleneck_features=bottleneck,
            depth=depth, freeze_input=freeze,
        )  # fmt: skip

    high = latent - 1
    if 64 * latent > 0.9 * budget:  # the output map alone: one of the narrowest that fits
        return _hourglass(depth, 96, budget)
    needed = (budget - 64 * latent) // (2 * depth * latent)
    width = min(max(needed, 1), high)
    return lambda freeze=True: sized(width, freeze)


def _conventional(depth: int, budget: int) -> Build:
    def sized(hidden: int) -> nn.Module:
        return ResidualMLP(64, 64, hidden_features=hidden, depth=depth)

    hidden = match_width(sized, budget, tolerance=0.1)
    return lambda: sized(hidden)


def _noisy(seed: int) -> Data:
    """Noisy digits as inputs, clean ones as targets, pixels from 0 to 1."""
    data = digits(seed)
    low, high = data.train_x.min(), data.train_x.max()
    draws = torch_generator(seed, "noise")
    clean = [(x - low) / (high - low) for x in (data.train_x, data.test_x)]
    noisy = [x + _NOISE * torch.randn(x.shape, generator=draws) for x in clean]
    return replace(
        data, train_x=noisy[0], train_y=clean[0], test_x=noisy[1], test_y=clean[1], classes=0
    )


def _psnr(build: Build, data: Data, seed: int, epochs: int) -> float:
    with seeded(seed, "weights"):
        model = build()
    fit(model, data, epochs=epochs, lr=_LR, seed=seed)
    model.eval()
    with torch.no_grad():
        error = (model(data.test_x).clamp(0, 1) - data.test_y).square().mean()
    return float(-10 * error.log10())
