"""Small networks that several claims on pruning use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from supple.claims._torch_seed import seeded

__all__ = ["SmallResNet", "perceptron", "small_resnet"]


def perceptron(sizes: Sequence[int], seed: int) -> nn.Sequential:
    """A plain network with ReLU between linear layers of these sizes."""
    layers: list[nn.Module] = []
    with seeded(seed, "perceptron"):
        for into, out in pairwise(sizes):
            layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """The residual sum."""
        out: Tensor = (x + self.body(x)).relu()
        return out


class SmallResNet(nn.Module):
    """A residual network with batch norms for images of 8x8 pixels.

    Args:
        width: Channels.
        blocks: Residual blocks.
        channels: Channels of the images.
        classes: Numbers that come out.
    """

    def __init__(
        self, *, width: int = 16, blocks: int = 3, channels: int = 1, classes: int = 10
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(width * 16, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes."""
        features = self.pool(self.blocks(self.stem(x))).flatten(1)
        out: Tensor = self.head(features)
        return out


def small_resnet(seed: int, *, width: int = 16, blocks: int = 3) -> SmallResNet:
    """The network with weights drawn from ``seed``."""
    with seeded(seed, "small resnet"):
        return SmallResNet(width=width, blocks=blocks)
