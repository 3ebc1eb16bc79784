"""Small networks of every kind the engine has to understand, written here from the papers.

Each family is a function without arguments that gives ``(model, example)``: a model in evaluation
mode with weights and batch-norm statistics drawn at random, and the arguments of one call.
`CLASSIC` are the seven families of the promise; `SMALL` are one network for one difficulty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Family = Callable[[], tuple[nn.Module, Any]]

CLASSIC: dict[str, Family] = {}
SMALL: dict[str, Family] = {}


def randomised(model: nn.Module) -> nn.Module:
    """Every norm gets statistics and scales that are not the identity."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)):
            for parameter, middle in ((module.weight, 1.0), (module.bias, 0.0)):
                if parameter is not None:
                    nn.init.normal_(parameter, middle, 0.2)
    return model


def family(group: dict[str, Family]) -> Callable[[Family], Family]:
    """Lists a family, and draws its weights from a seed of its own."""

    def register(make: Family) -> Family:
        def seeded() -> tuple[nn.Module, Any]:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(len(make.__name__))
                model, example = make()
                return randomised(model).eval(), example

        group[make.__name__] = seeded
        return seeded

    return register


def conv_norm(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, **rest: Any) -> list[Any]:
    padding = kernel // 2
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False, **rest)
    return [conv, nn.BatchNorm2d(c_out)]


# -- ResNet -----------------------------------------------------------------------------------
class PadShortcut(nn.Module):
    """Option A: every other pixel, new channels are zero."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        half = self.extra // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.extra - half))


class BasicBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(c_in, c_out, stride=stride)
        self.conv2, self.bn2 = conv_norm(c_out, c_out)
        if stride == 1 and c_in == c_out:
            self.shortcut: nn.Module = nn.Identity()
        elif option == "projection":
            self.shortcut = nn.Sequential(*conv_norm(c_in, c_out, 1, stride))
        else:
            self.shortcut = PadShortcut(c_out - c_in)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(
        self, widths: tuple[int, ...] = (8, 16), depth: int = 2, option: str = "projection"
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, widths[0])
        stages: list[nn.Module] = []
        c_in = widths[0]
        for i, width in enumerate(widths):
            blocks = []
            for j in range(depth):
                blocks.append(BasicBlock(c_in, width, 2 if i and not j else 1, option))
                c_in = width
            stages.append(nn.Sequential(*blocks))
        self.layers = nn.ModuleList(stages)
        self.fc = nn.Linear(c_in, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in self.layers:
            x = stage(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@family(CLASSIC)
def resnet18() -> tuple[nn.Module, Any]:
    return ResNet(), (torch.randn(2, 3, 8, 8),)


@family(SMALL)
def resnet_option_a() -> tuple[nn.Module, Any]:
    return ResNet((8, 16, 32), 3, option="pad"), (torch.randn(2, 3, 8, 8),)


class InPlaceBlock(nn.Module):
    """As torchvision writes it: everything in place, a bottleneck of grouped convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, 8, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


@family(SMALL)
def resnext_in_place() -> tuple[nn.Module, Any]:
    blocks = [InPlaceBlock(16) for _ in range(3)]
    model = nn.Sequential(
        *conv_norm(3, 16), nn.ReLU(inplace=True), *blocks, nn.Flatten(), nn.Linear(16 * 16, 3)
    )
    return model, (torch.randn(2, 3, 4, 4),)


class PreActivationBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width, momentum=None)
        self.conv1 = nn.Conv2d(width, width, 5, padding=2)
        self.bn2 = nn.BatchNorm2d(width, affine=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.elu(self.bn2(self.conv1(F.elu(self.bn1(x))))))


@family(SMALL)
def preactivation_resnet() -> tuple[nn.Module, Any]:
    blocks = [PreActivationBlock(8) for _ in range(4)]
    return nn.Sequential(nn.Conv2d(3, 8, 3), *blocks, nn.Conv2d(8, 2, 1)), (
        torch.randn(3, 3, 6, 6),
    )


# -- VGG, DenseNet ----------------------------------------------------------------------------
@family(CLASSIC)
def vgg() -> tuple[nn.Module, Any]:
    model = nn.Sequential(
        *conv_norm(3, 8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        *conv_norm(8, 16), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(64, 24), nn.ReLU(inplace=True), nn.Dropout(0.3),
        nn.Linear(24, 5),
    )  # fmt: skip
    return model, (torch.randn(2, 3, 8, 8),)


class DenseLayer(nn.Module):
    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, 2 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * growth)
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, parts: list[Tensor]) -> Tensor:
        x = torch.cat(parts, 1)
        x = self.conv1(F.relu(self.norm1(x)))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    def __init__(self, growth: int = 8, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        width = 16
        self.first = nn.ModuleList(DenseLayer(width + i * growth, growth) for i in range(layers))
        width += layers * growth
        self.transition = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2)
        )
        width //= 2
        self.second = nn.ModuleList(DenseLayer(width + i * growth, growth) for i in range(layers))
        width += layers * growth
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        for layer in self.first:
            parts.append(layer(parts))
        parts = [self.transition(torch.cat(parts, 1))]
        for layer in self.second:
            parts.append(layer(parts))
        x = F.relu(self.norm(torch.cat(parts, 1)))
        return self.head(x.mean((2, 3)))


@family(CLASSIC)
def densenet() -> tuple[nn.Module, Any]:
    return DenseNet(), (torch.randn(2, 3, 8, 8),)


# -- MobileNet --------------------------------------------------------------------------------
class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width // 4, 1)
        self.up = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.up(F.relu(self.down(scale))))


class InvertedResidual(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int, kernel: int, *, squeeze: bool) -> None:
        super().__init__()
        hidden = 4 * c_in
        parts = [*conv_norm(c_in, hidden, 1), nn.Hardswish() if squeeze else nn.ReLU6()]
        parts += [*conv_norm(hidden, hidden, kernel, stride, groups=hidden)]
        parts += [SqueezeExcite(hidden)] if squeeze else []
        parts += [nn.ReLU6(), *conv_norm(hidden, c_out, 1)]
        self.conv = nn.Sequential(*parts)
        self.is_residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


def mobilenet(*, squeeze: bool) -> nn.Module:
    shapes = ((8, 8, 1, 3), (8, 16, 2, 5), (16, 16, 1, 5), (16, 16, 1, 3))
    blocks = [InvertedResidual(a, b, s, k, squeeze=squeeze) for a, b, s, k in shapes]
    stem, head = conv_norm(3, 8, stride=2), conv_norm(16, 32, 1)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(
        *stem, nn.ReLU6(), nn.Sequential(*blocks), *head, nn.ReLU6(), *pool, nn.Linear(32, 5)
    )


@family(SMALL)
def mobilenet_v2() -> tuple[nn.Module, Any]:
    return mobilenet(squeeze=False), (torch.randn(2, 3, 16, 16),)


@family(CLASSIC)
def mobilenet_v3() -> tuple[nn.Module, Any]:
    return mobilenet(squeeze=True), (torch.randn(2, 3, 16, 16),)


# -- transformers for images ------------------------------------------------------------------
class FusedAttention(nn.Module):
    """One linear map for q, k and v, as timm writes it."""

    def __init__(self, width: int, heads: int, *, by_hand: bool = False) -> None:
        super().__init__()
        self.heads, self.by_hand = heads, by_hand
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.by_hand:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float = 0.0, **rest: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = FusedAttention(width, heads, **rest)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(
        self, width: int = 24, heads: int = 3, depth: int = 3, size: int = 8, patch: int = 4
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Encoder(width, heads, dropout=0.1) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


@family(CLASSIC)
def vit() -> tuple[nn.Module, Any]:
    return ViT(), (torch.randn(2, 3, 8, 8),)


class WindowAttention(nn.Module):
    """Attention in windows, with a learned table of relative positions."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        grid = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        apart = (grid[:, :, None] - grid[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", apart[..., 0] * (2 * window - 1) + apart[..., 1])
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attention = (q * self.scale) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        attention = attention + bias.unsqueeze(0)
        if mask is not None:
            count = mask.shape[0]
            attention = attention.view(b // count, count, self.heads, n, n) + mask[None, :, None]
            attention = attention.view(-1, self.heads, n, n)
        x = (attention.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c)
        return self.proj(x)


class SwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.side, self.window, self.shift = side, window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.register_buffer("mask", self._mask() if shift else None)

    def _mask(self) -> Tensor:
        image = torch.zeros(1, self.side, self.side, 1)
        pieces = (
            slice(0, -self.window),
            slice(-self.window, -self.shift),
            slice(-self.shift, None),
        )
        for i, rows in enumerate(pieces):
            for j, columns in enumerate(pieces):
                image[:, rows, columns] = 3 * i + j
        windows = self._partition(image).view(-1, self.window**2)
        return (windows[:, None] != windows[:, :, None]) * -100.0

    def _partition(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        x = x.view(b, h // self.window, self.window, w // self.window, self.window, c)
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, self.window, self.window, c)

    def _join(self, x: Tensor, h: int, w: int) -> Tensor:
        b = x.shape[0] // (h * w // self.window**2)
        x = x.view(b, h // self.window, w // self.window, self.window, self.window, -1)
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, -1)

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, c = x.shape
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = self._partition(y).view(-1, self.window**2, c)
        y = self.attn(y, self.mask).view(-1, self.window, self.window, c)
        y = self._join(y, h, w)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 2, 2)
        self.norm = nn.LayerNorm(width)
        self.stage1 = nn.Sequential(*(SwinBlock(width, 2, 8, 4, shift) for shift in (0, 2)))
        self.merge = PatchMerging(width)
        self.stage2 = nn.Sequential(*(SwinBlock(2 * width, 4, 4, 4, 0) for _ in range(2)))
        self.head = nn.Linear(2 * width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).permute(0, 2, 3, 1))
        x = self.stage2(self.merge(self.stage1(x)))
        return self.head(x.mean((1, 2)))


@family(CLASSIC)
def swin() -> tuple[nn.Module, Any]:
    return Swin(), (torch.randn(2, 3, 16, 16),)


class DropPath(nn.Module):
    """Stochastic depth: its code asks for the mode, so training is another graph."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0], *[1] * (x.ndim - 1))).bernoulli_(keep).div_(keep)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.5))
        self.drop_path = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over dimension 1."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(
        self, widths: tuple[int, ...] = (8, 16), depth: int = 2, rate: float = 0.2, patch: int = 2
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], patch, patch), ChannelNorm(widths[0]))
        self.stages = nn.ModuleList()
        for i, width in enumerate(widths):
            parts: list[nn.Module] = []
            if i:
                parts += [ChannelNorm(widths[i - 1]), nn.Conv2d(widths[i - 1], width, 2, 2)]
            parts += [ConvNeXtBlock(width, rate) for _ in range(depth)]
            self.stages.append(nn.Sequential(*parts))
        self.norm = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.norm(x.mean((2, 3))))


@family(CLASSIC)
def convnext() -> tuple[nn.Module, Any]:
    return ConvNeXt(), (torch.randn(2, 3, 8, 8),)


# -- one difficulty each ----------------------------------------------------------------------
@family(SMALL)
def mlp() -> tuple[nn.Module, Any]:
    model = nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 24, bias=False), nn.Tanh(), nn.Linear(24, 3)
    )
    return model, (torch.randn(3, 6),)


class Gated(nn.Module):
    """Two ways to write a gate: chunk and multiply, and F.glu."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(16, 8)
        self.up2, self.down2 = nn.Linear(8, 24), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, -1)
        x = x + self.down(value * F.silu(gate))
        return self.down2(F.glu(self.up2(x)))


@family(SMALL)
def gated_linear() -> tuple[nn.Module, Any]:
    return Gated(), (torch.randn(3, 5, 8),)


@family(SMALL)
def grouped_convolution() -> tuple[nn.Module, Any]:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, groups=4), nn.GroupNorm(8, 32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=2, dilation=2, groups=8),
        nn.InstanceNorm2d(32, affine=True), nn.Conv2d(32, 4, 1),
    )  # fmt: skip
    return model, (torch.randn(2, 3, 6, 6),)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge = nn.Conv2d(16, 8, 3, padding=1)
        self.up_grouped = nn.ConvTranspose2d(8, 8, 2, 2, groups=4)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down1(x))
        x = F.relu(self.middle(F.relu(self.down2(first))))
        x = F.relu(self.merge(torch.cat((first, self.up(x)), 1)))
        return self.head(F.avg_pool2d(self.up_grouped(x), 2))


@family(SMALL)
def unet() -> tuple[nn.Module, Any]:
    return UNet(), (torch.randn(2, 3, 8, 8),)


class ShuffleUnit(nn.Module):
    def __init__(self, width: int, *, native: bool) -> None:
        super().__init__()
        self.native = native
        self.branch = nn.Sequential(
            *conv_norm(width // 2, width // 2, 1), nn.ReLU(),
            *conv_norm(width // 2, width // 2, groups=width // 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        kept, used = x.chunk(2, 1)
        x = torch.cat((kept, self.branch(used)), 1)
        if self.native:
            return F.channel_shuffle(x, 2)
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


@family(SMALL)
def channel_shuffle() -> tuple[nn.Module, Any]:
    units = [ShuffleUnit(16, native=native) for native in (False, True, False)]
    return nn.Sequential(nn.Conv2d(3, 16, 3), *units, nn.Conv2d(16, 4, 1)), (
        torch.randn(2, 3, 6, 6),
    )


@family(SMALL)
def attention_by_hand() -> tuple[nn.Module, Any]:
    model = nn.Sequential(nn.Linear(6, 16), Encoder(16, 4, by_hand=True), nn.Linear(16, 3))
    return model, (torch.randn(2, 5, 6),)


class TorchAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 4, batch_first=True)
        self.cross = nn.MultiheadAttention(16, 2, kdim=6, vdim=6, batch_first=True)
        self.embed, self.head = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = h + self.inner(h, h, h, need_weights=False)[0]
        h = h + self.cross(h, x, x)[0]
        return self.head(h)


@family(SMALL)
def multihead_attention() -> tuple[nn.Module, Any]:
    return TorchAttention(), (torch.randn(2, 5, 6),)


class TorchEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        first = nn.TransformerEncoderLayer(16, 2, 24, norm_first=True, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.first = nn.TransformerEncoder(first, 2, enable_nested_tensor=False)
        self.embed, self.head = nn.Embedding(11, 16), nn.Linear(16, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.first(self.encoder(self.embed(tokens))))


@family(SMALL)
def tied_transformer_encoder() -> tuple[nn.Module, Any]:
    return TorchEncoder(), (torch.randint(0, 11, (3, 5)),)


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class GroupedQueries(nn.Module):
    """Llama's attention: fewer key and value heads, rotary positions, a causal mask."""

    def __init__(self, width: int, heads: int, shared: int, *, native: bool) -> None:
        super().__init__()
        self.heads, self.shared, self.size, self.native = heads, shared, width // heads, native
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, shared * self.size, bias=False)
        self.v = nn.Linear(width, shared * self.size, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        steps = 1.0 / (100 ** (torch.arange(0, self.size, 2).float() / self.size))
        self.register_buffer("steps", steps, persistent=False)

    def rotated(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.shape[-2], dtype=self.steps.dtype), self.steps)
        angles = torch.cat((angles, angles), -1)
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), -1)
        return x * angles.cos() + turned * angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.rotated(self.q(x).view(b, n, self.heads, self.size).transpose(1, 2))
        k = self.rotated(self.k(x).view(b, n, self.shared, self.size).transpose(1, 2))
        v = self.v(x).view(b, n, self.shared, self.size).transpose(1, 2)
        if self.native:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            times = self.heads // self.shared
            k, v = (t[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2) for t in (k, v))
            mask = torch.full((n, n), -1e4, dtype=x.dtype).triu(1)
            y = (q @ k.transpose(-2, -1) / math.sqrt(self.size) + mask).softmax(-1) @ v
        return self.o(y.transpose(1, 2).reshape(b, n, -1))


class LlamaLayer(nn.Module):
    def __init__(self, width: int, *, native: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attention = GroupedQueries(width, 8, 2, native=native)
        self.gate, self.up = nn.Linear(width, 24, bias=False), nn.Linear(width, 24, bias=False)
        self.down = nn.Linear(24, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, *, native: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(13, 32)
        self.layers = nn.ModuleList(LlamaLayer(32, native=native) for _ in range(2))
        self.norm = RMSNorm(32)
        self.head = nn.Linear(32, 13, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


@family(SMALL)
def grouped_queries() -> tuple[nn.Module, Any]:
    return Llama(native=True), (torch.randint(0, 13, (2, 6)),)


@family(SMALL)
def grouped_queries_by_hand() -> tuple[nn.Module, Any]:
    return Llama(native=False), (torch.randint(0, 13, (2, 6)),)


class Several(nn.Module):
    """Keyword arguments, one optional; a dict and a tuple come back."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Linear(6, 16), nn.Embedding(7, 16)
        self.mix, self.head, self.value = nn.Linear(32, 24), nn.Linear(24, 3), nn.Linear(24, 1)

    def forward(
        self, image: Tensor, tokens: Tensor, weights: list[Tensor], scale: float = 1.0
    ) -> dict[str, Any]:
        text = (self.text(tokens) * weights[0][..., None]).sum(1) + weights[1]
        hidden = F.relu(self.mix(torch.cat((self.image(image), text), -1)))
        return {"logits": self.head(hidden) * scale, "values": (self.value(hidden), None)}


@family(SMALL)
def several_inputs_and_outputs() -> tuple[nn.Module, Any]:
    example = {
        "image": torch.randn(3, 6),
        "tokens": torch.randint(0, 7, (3, 5)),
        "weights": [torch.rand(3, 5), torch.rand(16)],
        "scale": 2.0,
    }
    return Several(), example


class Repeated(nn.Module):
    """One module called several times, and an axis that meets itself in both dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(4, 12), nn.Linear(12, 2)
        self.cell = nn.Linear(12, 12)
        self.unused = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for _ in range(3):
            h = torch.tanh(self.cell(h))
        gram = h.transpose(-2, -1) @ h
        return self.head(h @ gram)


@family(SMALL)
def shared_module() -> tuple[nn.Module, Any]:
    return Repeated(), (torch.randn(2, 5, 4),)


@family(SMALL)
def convolutions_in_one_dimension() -> tuple[nn.Module, Any]:
    model = nn.Sequential(
        nn.Conv1d(2, 8, 5, padding="same"), nn.BatchNorm1d(8), nn.PReLU(8),
        nn.Conv1d(8, 16, 3, padding=2, dilation=2), nn.LeakyReLU(),
        nn.ConvTranspose1d(16, 8, 4, 2), nn.MaxPool1d(2), nn.Conv1d(8, 2, 1),
    )  # fmt: skip
    return model, (torch.randn(2, 2, 12),)


ALL: dict[str, Family] = {**CLASSIC, **SMALL}
