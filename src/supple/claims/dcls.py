"""DCLS (paper 29, 2112.03740): taps whose places are learned find where the signal is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.blocks.dcls import DCLSConv1d, clamp_positions, dcls_param_groups
from supple.claims import Arms, Dots, Rule, claim
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train, and on how many signals."""

    steps: int = 1500
    signals: int = 256


@claim(
    paper=29,
    says="At equal parameters, a convolution that learns where its taps are beats a dilated one "
    "and a dense one of the same number of parameters.",
    reported="ImageNet top-1 of ConvNeXt-T, at equal parameters: 82.5 with learned spacings, 82.1 "
    "with dense 7x7 kernels; plain dilation is worse (from memory of the paper).",
    here="Recovery instead of ImageNet: four channels of noise are each filtered by five taps at "
    "unknown real places of a window of 31, and convolutions of ten numbers for each channel "
    "learn the filters: five taps with places, ten taps with a fixed dilation of three, ten "
    "neighbours. Error relative to the variance of the targets, which hold a little noise.",
    rules=(
        Rule(metric="error", method="learned spacings", baseline="dilated", better="lower",
             scale="ratio", margin=2.0),
        Rule(metric="error", method="learned spacings", baseline="dense", better="lower",
             scale="ratio", margin=2.0),
        Rule(metric="distance", method="learned spacings", baseline=0.25, better="lower",
             unit="cells"),
    ),
    quick=Settings(steps=500, signals=96),
    full=Settings(),
    quick_seeds=5,
    full_seeds=10,
    figure=Dots(metric="error", log=True),
    tried="Versions: the bell (gauss) of learned width is the method, the triangle (v1) is shown; "
    "a triangle only sees the cells beside its tap, so taps that start far from a true place "
    "seldom find it.",
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Learn the same filters by four convolutions."""
    draw = torch_generator(seed, "dcls claim")
    places = (
        torch.rand((1, _CHANNELS, 1, _TAPS), generator=draw) * (_WINDOW - 3) - (_WINDOW - 3) / 2
    )
    truth = _spaced("v1")
    with torch.no_grad():
        truth.positions.copy_(places)
        signs = torch.randn(truth.weight.shape, generator=draw).sign()
        truth.weight.copy_(signs * (0.5 + torch.rand(truth.weight.shape, generator=draw)))

    def batch(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn((count, _CHANNELS, 64), generator=draw)
        with torch.no_grad():
            y = truth(x)
        return x, y + 0.05 * y.std() * torch.randn(y.shape, generator=draw)

    data, test = batch(settings.signals), batch(settings.signals)
    arms: dict[str, nn.Module] = {
        "learned spacings": _spaced("gauss"),
        "learned spacings (v1)": _spaced("v1"),
        "dilated": _plain(kernel=2 * _TAPS, dilation=3),
        "dense": _plain(kernel=2 * _TAPS, dilation=1),
    }
    found: dict[str, dict[str, float]] = {}
    for name, model in arms.items():
        _train(model, data, settings.steps)
        with torch.no_grad():
            error = (model(test[0]) - test[1]).square().mean() / test[1].var()
        found[name] = {"error": float(error)}
        if isinstance(model, DCLSConv1d):
            gaps = (places.unsqueeze(-1) - model.positions.detach().unsqueeze(-2)).abs()
            found[name]["distance"] = float(gaps.amin(-1).mean())
    return found


_CHANNELS, _TAPS, _WINDOW = 4, 5, 31


def _spaced(version: str) -> DCLSConv1d:
    model = DCLSConv1d(
        in_channels=_CHANNELS, out_channels=_CHANNELS, groups=_CHANNELS, kernel_count=_TAPS,
        dilated_kernel_size=_WINDOW, padding=_WINDOW // 2, bias=False,
        version=version,  # type: ignore[arg-type]
    )  # fmt: skip
    if model.width is not None:
        model.width.requires_grad_(False)  # as many numbers to learn as the other arms
        model.width.data.fill_(2.0)
        spread = torch.linspace(-1, 1, _TAPS) * _WINDOW / 3
        model.positions.data.copy_(spread.expand_as(model.positions))
    return model


def _plain(kernel: int, dilation: int) -> nn.Module:
    reach = dilation * (kernel - 1)
    pad = nn.ConstantPad1d((reach // 2, reach - reach // 2), 0.0)
    conv = nn.Conv1d(_CHANNELS, _CHANNELS, kernel, dilation=dilation, groups=_CHANNELS, bias=False)
    return nn.Sequential(pad, conv)


def _train(model: nn.Module, data: tuple[Tensor, Tensor], steps: int) -> None:
    optimizer = torch.optim.Adam(dcls_param_groups(model, lr=0.02, position_lr_mult=5.0))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, y = data
    for step in range(steps):
        if isinstance(model, DCLSConv1d) and model.width is not None:
            # Wide at first, so that a tap feels places far away; as narrow as a cell at the end.
            model.width.data.fill_(max(0.23, 2.0 * (1 - 1.5 * step / steps)))
        part = slice((step * 32) % len(x), (step * 32) % len(x) + 32)
        optimizer.zero_grad()
        (model(x[part]) - y[part]).square().mean().backward()
        optimizer.step()
        schedule.step()
        clamp_positions(model)
