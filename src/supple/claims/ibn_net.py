"""IBN-Net (paper 92, 1807.09441): instance norm in shallow layers carries to unseen looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from supple.blocks.ibn import InstanceBatchNorm2d
from supple.claims import Arms, Dots, Rule, accuracy, claim, digits, fit, seeded
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to train."""

    epochs: float = 20


@claim(
    paper=92,
    says="Instance norm for half the channels of shallow layers makes a network much better on "
    "looks it never saw, and no worse on those it did.",
    reported="ImageNet top-1 error of ResNet-50 24.27 with batch norm, 22.54 with IBN-a; "
    "cross-domain segmentation gains comparable to domain adaptation.",
    here="Digits of 8x8 pixels in three channels with slightly random colours; tested on such ones "
    "and on ones with another contrast, brightness and order of the channels. Four convolutions "
    "(16, 16, 32, 32), the first two with the norm of the arm, the others with batch norm "
    "(except: instance norm everywhere).",
    rules=(
        Rule(metric="accuracy shifted", method="ibn", baseline="batch norm", margin=0.03),
        Rule(metric="accuracy", method="ibn", baseline="batch norm", expects="not worse",
             margin=0.005),
        Rule(metric="accuracy", method="ibn", baseline="instance norm", expects="not worse",
             margin=0.005),
    ),
    quick=Settings(epochs=4),
    full=Settings(),
    full_seeds=8,
    figure=Dots(metric="accuracy shifted"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train on one look of the digits and test on two."""
    data = digits(seed, images=True)
    draw = torch_generator(seed, "colours")
    seen = replace(data, train_x=_seen(data.train_x, draw), test_x=_seen(data.test_x, draw))
    shifted = replace(seen, test_x=_shifted(seen.test_x, draw))
    found = {}
    for arm in ("ibn", "batch norm", "instance norm"):
        with seeded(seed, "weights"):
            model = _network(arm)
        fit(model, seen, epochs=settings.epochs, lr=5e-3, seed=seed)
        found[arm] = {
            "accuracy": accuracy(model, seen),
            "accuracy shifted": accuracy(model, shifted),
        }
    return found


def _seen(x: Tensor, draw: torch.Generator) -> Tensor:
    """Three channels of slightly different strength and level."""
    strength = 1 + 0.1 * torch.randn((len(x), 3, 1, 1), generator=draw)
    return x * strength + 0.1 * torch.randn((len(x), 3, 1, 1), generator=draw)


def _shifted(x: Tensor, draw: torch.Generator) -> Tensor:
    """Another contrast and level for each channel of each image, and other channels."""
    contrast = 0.3 + 1.2 * torch.rand((len(x), 3, 1, 1), generator=draw)
    level = torch.randn((len(x), 3, 1, 1), generator=draw)
    return (x * contrast + level)[:, torch.randperm(3, generator=draw)]


def _network(arm: str) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for i, width in enumerate((16, 16, 32, 32)):
        norm: nn.Module = nn.BatchNorm2d(width)
        if arm == "instance norm":
            norm = nn.InstanceNorm2d(width, affine=True)
        elif arm == "ibn" and i < 2:
            norm = InstanceBatchNorm2d(num_features=width)
        step = 2 if i == 2 else 1
        layers += [nn.Conv2d(channels, width, 3, stride=step, padding=1), norm, nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
