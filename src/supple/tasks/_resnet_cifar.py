"""The ResNets for CIFAR-10 of He et al. (1512.03385, section 4.2), as Idelbayev trained them.

Layout and names are those of github.com/akamaster/pytorch_resnet_cifar10 (BSD-2-Clause), whose
pre-trained weights load without renaming.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BLOCKS_PER_STAGE", "CifarResNet"]

BLOCKS_PER_STAGE = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9}
"""The pre-trained networks; each has ``6 n + 2`` layers."""


class CifarResNet(nn.Module):
    """A stem, three stages of 16, 32 and 64 channels, and a classifier.

    Args:
        blocks: Residual blocks per stage.
    """

    def __init__(self, *, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the ten classes."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential() if stride == 1 else _PadShortcut(after)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _PadShortcut(nn.Module):
    """Option A: every second pixel, and zeros for the new channels, half on each side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        side = self.channels // 4
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, side, side))


def _stage(before: int, after: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(before, after, stride)
    return nn.Sequential(first, *(_Block(after, after, 1) for _ in range(blocks - 1)))
