"""The classic convolutional families, each re-stated small from its paper.

A family is a function without arguments that gives ``(model, example)``. Together they hold what
such networks do to channels: concatenate, split, shuffle, group, squeeze, gate, fuse resolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.families import ALL, family

__all__ = ["CONVOLUTIONAL"]

CONVOLUTIONAL: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "resnet18_own": ALL["resnet18"],
    "resnet_option_a": ALL["resnet_option_a"],
    "preactivation_resnet": ALL["preactivation_resnet"],
    "vgg": ALL["vgg"],
    "densenet": ALL["densenet"],
    "mobilenet_v2_own": ALL["mobilenet_v2"],
    "mobilenet_v3": ALL["mobilenet_v3"],
    "convnext_own": ALL["convnext"],
    "u_net": ALL["unet"],
}


def image() -> tuple[Tensor]:
    return (torch.randn(2, 3, 32, 32),)


def conv(c_in: int, c_out: int, kernel: Any = 3, stride: int = 1, **rest: Any) -> nn.Sequential:
    """Convolution, batch norm, ReLU, as wide as before where the stride is one."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = rest.pop("padding", tuple(k // 2 for k in sides))
    act = rest.pop("act", nn.ReLU)
    layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False, **rest)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out), *([act()] if act else []))


class Head(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))


class Branches(nn.ModuleList):
    """Several ways side by side, concatenated."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class Residual(nn.Module):
    """``act(shortcut(x) + body(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: bool = True):
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.shortcut(x))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, inner: int, gate: Callable[[Tensor], Tensor] = torch.sigmoid):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, inner, 1), nn.Conv2d(inner, width, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(F.silu(self.down(x.mean((2, 3), keepdim=True)))))


# -- plain stacks -----------------------------------------------------------------------------
@family(CONVOLUTIONAL)
def alexnet() -> tuple[nn.Module, Any]:
    features = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 16, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    head = (nn.Dropout(), nn.Linear(16 * 9, 24), nn.ReLU(inplace=True), nn.Linear(24, 5))
    return nn.Sequential(features, nn.Flatten(), *head), image()


@family(CONVOLUTIONAL)
def vgg_with_norm() -> tuple[nn.Module, Any]:
    features = [conv(3, 8), nn.MaxPool2d(2), conv(8, 16), conv(16, 16), nn.MaxPool2d(2)]
    head = (nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(16 * 9, 24), nn.ReLU())
    return nn.Sequential(*features, *head, nn.Dropout(), nn.Linear(24, 5)), image()


@family(CONVOLUTIONAL)
def mobilenet_v1_own() -> tuple[nn.Module, Any]:
    parts: list[nn.Module] = [conv(3, 8, 3, 2)]
    for a, b, stride in ((8, 16, 1), (16, 24, 2), (24, 24, 1)):
        parts += [conv(a, a, 3, stride, groups=a), conv(a, b, 1)]
    return nn.Sequential(*parts, Head(24)), image()


class RepVGGBlock(nn.Module):
    """Three parallel ways that may be merged into one later."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide, self.narrow = conv(width, width, act=None), conv(width, width, 1, act=None)
        self.same = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.wide(x) + self.narrow(x) + self.same(x))


@family(CONVOLUTIONAL)
def repvgg() -> tuple[nn.Module, Any]:
    return nn.Sequential(conv(3, 12, 3, 2), RepVGGBlock(12), RepVGGBlock(12), Head(12)), image()


# -- residual networks ------------------------------------------------------------------------
def bottleneck(c_in: int, inner: int, c_out: int, stride: int = 1, groups: int = 1, squeeze: int = 0
               ) -> Residual:  # fmt: skip
    middle = [conv(c_in, inner, 1), conv(inner, inner, 3, stride, groups=groups)]
    middle += [SqueezeExcite(inner, squeeze)] if squeeze else []
    is_same = stride == 1 and c_in == c_out
    shortcut = None if is_same else conv(c_in, c_out, 1, stride, act=None)
    return Residual(nn.Sequential(*middle, conv(inner, c_out, 1, act=None)), shortcut)


def staged(stem: int, *blocks: nn.Module, out: int) -> nn.Module:
    return nn.Sequential(conv(3, stem, 3, 2), nn.MaxPool2d(3, 2, 1), *blocks, Head(out))


@family(CONVOLUTIONAL)
def resnet50() -> tuple[nn.Module, Any]:
    blocks = bottleneck(8, 8, 32), bottleneck(32, 8, 32), bottleneck(32, 16, 48, 2)
    return staged(8, *blocks, bottleneck(48, 16, 48), out=48), image()


@family(CONVOLUTIONAL)
def resnext50() -> tuple[nn.Module, Any]:
    blocks = bottleneck(8, 16, 32, groups=4), bottleneck(32, 16, 32, groups=4)
    return staged(8, *blocks, bottleneck(32, 24, 48, 2, groups=4), out=48), image()


@family(CONVOLUTIONAL)
def se_resnet() -> tuple[nn.Module, Any]:
    blocks = bottleneck(8, 16, 32, squeeze=4), bottleneck(32, 16, 32, squeeze=4)
    return staged(8, *blocks, out=32), image()


@family(CONVOLUTIONAL)
def regnet_y() -> tuple[nn.Module, Any]:
    blocks = bottleneck(8, 16, 16, 2, 2, 4), bottleneck(16, 16, 16, 1, 2, 4)
    return staged(8, *blocks, bottleneck(16, 32, 32, 2, 4, 4), out=32), image()


class SplitAttention(nn.Module):
    """ResNeSt: two ways, weighted per channel by a softmax over the ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.ways = width, conv(width, 2 * width, 3, groups=4)
        self.down, self.up = conv(width, 8, 1), nn.Conv2d(8, 2 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ways(x)
        b, _, h, w = y.shape
        y = y.view(b, 2, self.width, h, w)
        scores = self.up(self.down(y.sum(1).mean((2, 3), keepdim=True)))
        return (y * scores.view(b, 2, self.width, 1, 1).softmax(1)).sum(1)


@family(CONVOLUTIONAL)
def resnest() -> tuple[nn.Module, Any]:
    def block() -> nn.Module:
        return Residual(nn.Sequential(conv(32, 16, 1), SplitAttention(16), conv(16, 32, 1)))

    return staged(32, block(), block(), out=32), image()


class StandardisedConv(nn.Conv2d):
    """A convolution whose weight is standardised for each output."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3))
        weight = (self.weight - mean) / (std.view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class NormFreeBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.a, self.b = StandardisedConv(width, inner, 1), StandardisedConv(inner, width, 3, 1, 1)
        self.gain = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.b(F.gelu(self.a(F.gelu(x) * 1.7)) * 1.7)


@family(CONVOLUTIONAL)
def nfnet() -> tuple[nn.Module, Any]:
    blocks = NormFreeBlock(24, 12), NormFreeBlock(24, 12)
    return nn.Sequential(StandardisedConv(3, 24, 3, 2, 1), *blocks, Head(24)), image()


# -- small networks ---------------------------------------------------------------------------
def inverted(a: int, b: int, stride: int, kernel: int, times: int, squeeze: bool, act: Any
             ) -> nn.Module:  # fmt: skip
    inner = times * a
    parts = [conv(a, inner, 1, act=act)] if times > 1 else []
    parts += [conv(inner, inner, kernel, stride, groups=inner, act=act)]
    parts += [SqueezeExcite(inner, max(2, a // 4))] if squeeze else []
    body = nn.Sequential(*parts, conv(inner, b, 1, act=None))
    return Residual(body, act=False) if stride == 1 and a == b else body


@family(CONVOLUTIONAL)
def efficientnet_own() -> tuple[nn.Module, Any]:
    shapes = ((8, 8, 1, 3, 1), (8, 12, 2, 5, 4), (12, 12, 1, 5, 4), (12, 16, 2, 3, 4))
    blocks = (inverted(a, b, s, k, t, True, nn.SiLU) for a, b, s, k, t in shapes)
    return nn.Sequential(conv(3, 8, 3, 2), *blocks, conv(16, 32, 1, act=nn.SiLU), Head(32)), image()


@family(CONVOLUTIONAL)
def mnasnet() -> tuple[nn.Module, Any]:
    shapes = ((8, 12, 2, 3, 3), (12, 12, 1, 3, 3), (12, 16, 2, 5, 6), (16, 16, 1, 5, 6))
    blocks = (inverted(a, b, s, k, t, False, nn.ReLU) for a, b, s, k, t in shapes)
    return nn.Sequential(conv(3, 8, 3, 2), *blocks, Head(16)), image()


class Fire(nn.Module):
    def __init__(self, c_in: int, squeezed: int, each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(c_in, squeezed, 1)
        self.expand = Branches([nn.Conv2d(squeezed, each, 1), nn.Conv2d(squeezed, each, 3, 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.expand(F.relu(self.squeeze(x))))


@family(CONVOLUTIONAL)
def squeezenet() -> tuple[nn.Module, Any]:
    fires = Fire(12, 8, 12), Fire(24, 8, 12), nn.MaxPool2d(3, 2), Fire(24, 12, 16)
    head = nn.Dropout(0.2), nn.Conv2d(32, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.ReLU(), *fires, *head), image()


def shuffled(x: Tensor, groups: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class ShuffleUnit(nn.Module):
    """Version 1: grouped convolutions with a shuffle between them."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.a, self.b = conv(width, 12, 1, groups=groups), conv(12, 12, 3, groups=12, act=None)
        self.c = conv(12, width, 1, groups=groups, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.c(self.b(shuffled(self.a(x), self.groups))))


@family(CONVOLUTIONAL)
def shufflenet_v1() -> tuple[nn.Module, Any]:
    return nn.Sequential(
        conv(3, 24, 3, 2), ShuffleUnit(24, 3), ShuffleUnit(24, 3), Head(24)
    ), image()


class ShuffleUnit2(nn.Module):
    """Version 2: half of the channels pass, or both halves are made with a stride."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        half, self.stride = c_out // 2, stride
        first = c_in if stride > 1 else half
        if stride > 1:
            self.left = nn.Sequential(
                conv(first, first, 3, 2, groups=first, act=None), conv(first, half, 1)
            )
        self.right = nn.Sequential(
            conv(first, half, 1), conv(half, half, 3, stride, groups=half, act=None),
            conv(half, half, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            return shuffled(torch.cat((self.left(x), self.right(x)), 1), 2)
        passed, changed = x.chunk(2, 1)
        return shuffled(torch.cat((passed, self.right(changed)), 1), 2)


@family(CONVOLUTIONAL)
def shufflenet_v2() -> tuple[nn.Module, Any]:
    units = ShuffleUnit2(8, 16, 2), ShuffleUnit2(16, 16, 1), ShuffleUnit2(16, 16, 1)
    return nn.Sequential(conv(3, 8, 3, 2), *units, conv(16, 24, 1), Head(24)), image()


class Ghost(nn.Module):
    """Half of the features are cheap copies of the other half; the sum may be trimmed."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c_out, half = c_out, (c_out + 1) // 2
        self.main, self.cheap = conv(c_in, half, 1), conv(half, half, 3, groups=half)

    def forward(self, x: Tensor) -> Tensor:
        x = self.main(x)
        return torch.cat((x, self.cheap(x)), 1)[:, : self.c_out]


@family(CONVOLUTIONAL)
def ghostnet() -> tuple[nn.Module, Any]:
    def block(width: int) -> nn.Module:
        return Residual(nn.Sequential(Ghost(width, 24), SqueezeExcite(24, 6), Ghost(24, width)))

    return nn.Sequential(conv(3, 16, 3, 2), block(16), block(16), Ghost(16, 21), Head(21)), image()


# -- many ways side by side -------------------------------------------------------------------
def inception(c_in: int, a: int, b: tuple[int, int], c: tuple[int, int], d: int) -> nn.Module:
    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(c_in, d, 1))
    ways = conv(c_in, b[0], 1), conv(b[0], b[1], 3)
    wide = conv(c_in, c[0], 1), conv(c[0], c[1], 5)
    return Branches([conv(c_in, a, 1), nn.Sequential(*ways), nn.Sequential(*wide), pool])


class GoogLeNet(nn.Module):
    """With its second classifier, which is only asked in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 12, 3, 2), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, 1))
        self.first = inception(12, 8, (8, 12), (4, 8), 4)
        self.second = inception(32, 8, (8, 16), (4, 8), 8)
        self.aux, self.head = Head(32), Head(40)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        y = self.head(self.second(x))
        return y + 0.3 * self.aux(x) if self.training else y


@family(CONVOLUTIONAL)
def googlenet() -> tuple[nn.Module, Any]:
    return GoogLeNet(), image()


class InceptionTree(nn.Module):
    """Inception v3's last block: ways that split again, with one-sided windows."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.a, self.b = conv(c_in, 8, 1), conv(c_in, 12, 1)
        self.wide, self.tall = conv(12, 8, (1, 3)), conv(12, 8, (3, 1))
        self.pool = conv(c_in, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        b = self.b(x)
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.a(x), torch.cat([self.wide(b), self.tall(b)], 1), pooled], 1)


class InceptionReduce(nn.Module):
    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.a = conv(c_in, 12, 3, 2, padding=0)
        self.b = nn.Sequential(conv(c_in, 8, 1), conv(8, 8, (1, 7)), conv(8, 8, 3, 2, padding=0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x), F.max_pool2d(x, 3, 2)], 1)


@family(CONVOLUTIONAL)
def inception_v3() -> tuple[nn.Module, Any]:
    blocks = InceptionReduce(12), InceptionTree(32), InceptionTree(32)
    return nn.Sequential(conv(3, 12, 3, 2), *blocks, nn.Dropout(), Head(32)), image()


@family(CONVOLUTIONAL)
def inception_resnet() -> tuple[nn.Module, Any]:
    def block() -> nn.Module:
        ways = Branches([conv(24, 8, 1), nn.Sequential(conv(24, 8, 1), conv(8, 12, 3))])
        return Residual(nn.Sequential(ways, nn.Conv2d(20, 24, 1)))

    return nn.Sequential(conv(3, 24, 3, 2), block(), block(), Head(24)), image()


class Separable(nn.Sequential):
    def __init__(self, a: int, b: int, stride: int = 1) -> None:
        depthwise = nn.Conv2d(a, a, 3, stride, 1, groups=a, bias=False)
        super().__init__(nn.ReLU(), depthwise, nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b))


@family(CONVOLUTIONAL)
def xception() -> tuple[nn.Module, Any]:
    entry = Residual(
        nn.Sequential(Separable(12, 24), Separable(24, 24), nn.MaxPool2d(3, 2, 1)),
        conv(12, 24, 1, 2, act=None), act=False,
    )  # fmt: skip
    middle = (
        Residual(nn.Sequential(*(Separable(24, 24) for _ in range(3))), act=False) for _ in "ab"
    )
    return nn.Sequential(conv(3, 12, 3, 2), entry, *middle, Separable(24, 32), Head(32)), image()


class DualPath(nn.Module):
    """DPN: part of the output is added, part is concatenated."""

    def __init__(self, c_in: int, shared: int, growth: int) -> None:
        super().__init__()
        self.shared = shared
        self.body = nn.Sequential(conv(c_in, 12, 1), conv(12, shared + growth, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        added = x[:, : self.shared] + y[:, : self.shared]
        return torch.cat([added, x[:, self.shared :], y[:, self.shared :]], 1)


@family(CONVOLUTIONAL)
def dpn() -> tuple[nn.Module, Any]:
    blocks = DualPath(24, 16, 4), DualPath(28, 16, 4), DualPath(32, 16, 4)
    return nn.Sequential(conv(3, 24, 3, 2), *blocks, Head(36)), image()


class CrossStage(nn.Module):
    """CSPNet, as in the YOLO family: one half is worked on, then both are mixed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width, 1, act=nn.SiLU)
        half = width // 2
        body = [conv(half, half, 1, act=nn.SiLU), conv(half, half, 3, act=nn.SiLU)]
        self.inner = nn.ModuleList(Residual(nn.Sequential(*body), act=False) for _ in range(2))
        self.last = conv(2 * width, width, 1, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for layer in self.inner:
            parts.append(layer(parts[-1]))
        return self.last(torch.cat(parts, 1))


class PoolPyramid(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = conv(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.mix(torch.cat(parts, 1))


@family(CONVOLUTIONAL)
def csp_darknet() -> tuple[nn.Module, Any]:
    body = CrossStage(16), conv(16, 24, 3, 2), CrossStage(24), PoolPyramid(24)
    return nn.Sequential(conv(3, 16, 3, 2), *body, Head(24)), image()


# -- several resolutions ----------------------------------------------------------------------
class HighResolution(nn.Module):
    """HRNet: two resolutions side by side that tell each other what they found."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv(3, 12, 3, 2), conv(12, 16, 3, 2)
        self.fine2, self.coarse2 = Residual(conv(12, 12)), Residual(conv(16, 16))
        self.up, self.down = conv(16, 12, 1, act=None), conv(12, 16, 3, 2, act=None)
        self.head = nn.Conv2d(28, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.coarse2(self.coarse(fine))
        fine = self.fine2(fine)
        up = F.interpolate(self.up(coarse), size=fine.shape[-2:], mode="nearest")
        fine, coarse = F.relu(fine + up), F.relu(coarse + self.down(fine))
        wide = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(torch.cat([fine, wide], 1))


@family(CONVOLUTIONAL)
def hrnet() -> tuple[nn.Module, Any]:
    return HighResolution(), image()


class Pyramid(nn.Module):
    """FPN: lateral maps of one width, added from coarse to fine; one head for all levels."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv(3, 8, 3, 2), conv(8, 16, 3, 2), conv(16, 24, 3, 2)])
        self.lateral = nn.ModuleList(nn.Conv2d(c, 12, 1) for c in (8, 16, 24))
        self.head = nn.Sequential(
            nn.Conv2d(12, 12, 3, 1, 1), nn.GroupNorm(4, 12), nn.Conv2d(12, 4, 1)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        levels = [lateral(m) for lateral, m in zip(self.lateral, maps, strict=True)]
        for i in (1, 0):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], size=levels[i].shape[-2:])
        return [self.head(level) for level in levels]


@family(CONVOLUTIONAL)
def feature_pyramid() -> tuple[nn.Module, Any]:
    return Pyramid(), image()


class DilatedPyramid(nn.Module):
    """DeepLab's ASPP, with the mean of the image as one way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        ways = [conv(width, 8, 3, dilation=d, padding=d) for d in (1, 2, 3)]
        self.ways, self.mean = Branches(ways), conv(width, 8, 1)
        self.mix = conv(32, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(F.adaptive_avg_pool2d(x, 1))
        mean = F.interpolate(mean, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.mix(torch.cat([self.ways(x), mean], 1))


@family(CONVOLUTIONAL)
def deeplab() -> tuple[nn.Module, Any]:
    body = conv(3, 16, 3, 2), bottleneck(16, 8, 16), DilatedPyramid(16), nn.Conv2d(16, 4, 1)
    return nn.Sequential(*body, nn.Upsample(scale_factor=2)), image()


@family(CONVOLUTIONAL)
def super_resolution() -> tuple[nn.Module, Any]:
    body = (Residual(nn.Sequential(conv(16, 16), nn.Conv2d(16, 16, 3, 1, 1))) for _ in "ab")
    up = nn.Conv2d(16, 48, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU(12), nn.Conv2d(12, 3, 3, 1, 1)
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), *body, *up), (torch.randn(2, 3, 8, 8),)


@family(CONVOLUTIONAL)
def generator() -> tuple[nn.Module, Any]:
    parts: list[nn.Module] = [nn.Unflatten(1, (6, 1, 1)), nn.ConvTranspose2d(6, 16, 4)]
    parts += [nn.BatchNorm2d(16), nn.ReLU(True), nn.ConvTranspose2d(16, 8, 4, 2, 1, groups=2)]
    parts += [nn.InstanceNorm2d(8, affine=True), nn.ReLU(True), nn.ConvTranspose2d(8, 3, 4, 2, 1)]
    return nn.Sequential(*parts, nn.Tanh()), (torch.randn(2, 6),)


@family(CONVOLUTIONAL)
def temporal() -> tuple[nn.Module, Any]:
    """A WaveNet: dilated, gated, with skips that are summed."""
    return WaveNet(), (torch.randn(2, 3, 40),)


class WaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 12, 1)
        self.gates = nn.ModuleList(nn.Conv1d(12, 16, 3, dilation=d, padding=d) for d in (1, 2, 4))
        self.mixes = nn.ModuleList(nn.Conv1d(8, 12 + 10, 1) for _ in range(3))
        self.head = nn.Conv1d(10, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.stem(x), []
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            a, b = gate(x).chunk(2, 1)
            residual, skip = mix(torch.tanh(a) * torch.sigmoid(b)).split([12, 10], 1)
            x = x + residual
            skips.append(skip)
        return self.head(F.relu(torch.stack(skips).sum(0)))


@family(CONVOLUTIONAL)
def video_conv() -> tuple[nn.Module, Any]:
    """R(2+1)D: space, then time."""
    parts: list[nn.Module] = []
    for a, b in ((3, 8), (8, 12)):
        parts += [nn.Conv3d(a, 12, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(12), nn.ReLU()]
        parts += [nn.Conv3d(12, b, (3, 1, 1), padding=(1, 0, 0)), nn.BatchNorm3d(b), nn.ReLU()]
    head = nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(12, 5)
    return nn.Sequential(*parts, *head), (torch.randn(2, 3, 4, 8, 8),)
