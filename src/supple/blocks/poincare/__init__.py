"""Hyperbolic layers on the Poincaré ball, and the ResNet built of them.

Features travel between layers as tangent vectors at the origin, so every layer here takes and
gives plain vectors of any length; inside, it works with points of the ball.

Paper 27: van Spengler, Berkhout, Mettes, "Poincaré ResNet" (arXiv 2303.14027).
"""

from supple.blocks.poincare.ball import PoincareBall
from supple.blocks.poincare.batch_norm import PoincareBatchNorm2d
from supple.blocks.poincare.convolution import PoincareConv2d, PoincareLinear
from supple.blocks.poincare.resnet import PoincareBlock, PoincareResNet

__all__ = [
    "PoincareBall",
    "PoincareBatchNorm2d",
    "PoincareBlock",
    "PoincareConv2d",
    "PoincareLinear",
    "PoincareResNet",
]
