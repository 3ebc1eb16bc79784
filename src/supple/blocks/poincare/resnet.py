"""The Poincaré ResNet: a CIFAR ResNet of hyperbolic layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_divides, check_positive
from supple.blocks.poincare.ball import PoincareBall
from supple.blocks.poincare.batch_norm import PoincareBatchNorm2d
from supple.blocks.poincare.convolution import PoincareConv2d, PoincareLinear
from supple.papers import implements

__all__ = ["PoincareBlock", "PoincareResNet"]


@implements(27)
class PoincareBlock(nn.Module):
    """``relu(f(x) + x)`` with f two convolutions with batch norm, and the addition of the ball.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Step of the first convolution.
        ball: The ball; one of curvature -0.1 by default.

    Example:
        >>> PoincareBlock(in_channels=4, out_channels=8, stride=2)(torch.randn(2, 4, 6, 6)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        ball: PoincareBall | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.ball = PoincareBall() if ball is None else ball

        def convolution(into: int, kernel: int, step: int) -> PoincareConv2d:
            return PoincareConv2d(
                in_channels=into,
                out_channels=out_channels,
                kernel_size=kernel,
                stride=step,
                padding=kernel // 2,
                ball=self.ball,
                bias=False,
            )

        self.conv1 = convolution(in_channels, 3, stride)
        self.bn1 = PoincareBatchNorm2d(num_features=out_channels, ball=self.ball)
        self.conv2 = convolution(out_channels, 3, 1)
        self.bn2 = PoincareBatchNorm2d(num_features=out_channels, ball=self.ball)
        is_same = stride == 1 and in_channels == out_channels
        self.skip = nn.Identity() if is_same else convolution(in_channels, 1, stride)

    def reset_parameters(self) -> None:
        """Those of all layers."""
        for part in (self.conv1, self.bn1, self.conv2, self.bn2, self.skip):
            if not isinstance(part, nn.Identity):
                part.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Tangent vectors (batch, in, H, W) to (batch, out, H', W')."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        ball = self.ball
        both = ball.add(ball.expmap0(y, 1), ball.expmap0(self.skip(x), 1), 1)
        return torch.relu(ball.logmap0(ball.project(both, 1), 1))


@implements(27)
class PoincareResNet(nn.Module):
    """Three stages of blocks, an average of tangent vectors and distances to hyperplanes.

    Args:
        depth: Layers, ``6 n + 2``: n blocks in each stage.
        widths: Channels of the three stages.
        num_classes: Classes.
        in_channels: Channels of the images.
        c: The curvature is ``-c``.
        is_learnable: Whether c is trained.

    Raises:
        BlockError: The depth is not of that form.

    Example:
        >>> net = PoincareResNet(depth=8, widths=(4, 8, 16), num_classes=10)
        >>> net(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int = 20,
        widths: Sequence[int] = (4, 8, 16),
        num_classes: int = 10,
        in_channels: int = 3,
        c: float = 0.1,
        is_learnable: bool = False,
    ) -> None:
        super().__init__()
        check_positive(self, depth=depth - 2, num_classes=num_classes)
        check_divides(self, "depth - 2", depth - 2, "6", 6)
        self.in_channels = in_channels
        self.out_features = num_classes
        self.ball = PoincareBall(c=c, is_learnable=is_learnable)
        self.conv = PoincareConv2d(
            in_channels=in_channels,
            out_channels=widths[0],
            kernel_size=3,
            padding=1,
            ball=self.ball,
            bias=False,
        )
        self.bn = PoincareBatchNorm2d(num_features=widths[0], ball=self.ball)
        blocks: list[nn.Module] = []
        into = widths[0]
        for stage, width in enumerate(widths):
            for i in range((depth - 2) // 6):
                step = 2 if stage and not i else 1
                blocks.append(
                    PoincareBlock(in_channels=into, out_channels=width, stride=step, ball=self.ball)
                )
                into = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = PoincareLinear(in_features=into, out_features=num_classes, ball=self.ball)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, in, H, W) to logits (batch, classes)."""
        y = self.blocks(torch.relu(self.bn(self.conv(x))))
        return self.classifier.scores(y.mean((2, 3)))
