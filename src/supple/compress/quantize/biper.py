"""BiPer: binary weights as the sign of a sine, trained through the sine (2404.01278).

E. Vargas et al., "BiPer: Binary Neural Networks using a Periodic Function", CVPR 2024. A weight is
sign(sin(w0 w)); its gradient is that of sin(w0 w), and the frequency w0 says how far the sine is
from its sign. Training has two stages: the sine itself, then its sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.compress.quantize._quantizer import straight_through
from supple.compress.quantize.binary import signs
from supple.errors import CompressError, near_misses
from supple.papers import implements

__all__ = [
    "BiPer",
    "BinaryConv2d",
    "BinaryLinear",
    "approximate_sign",
    "binarization_error",
    "binarize_",
    "pack_signs",
    "set_stage_",
    "unpack_signs",
]

WeightRule = Literal["biper", "sign"]
Scale = Literal["learned", "mean", "none"]


@implements(55)
@dataclass(frozen=True, kw_only=True)
class BiPer:
    """sign(sin(frequency · w)), with the gradient of the sine; in stage 1 the sine itself.

    Attributes:
        frequency: w0; the larger, the nearer the sine of a spread-out weight is to ±1: the mean
            squared error falls to 1 - 4/pi + 1/2, about 0.227.
        stage: 1 for the sine, 2 for its sign.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import BiPer
        >>> BiPer(frequency=20.0)(torch.tensor([0.05, -0.05, 0.2, 0.0]))
        tensor([ 1., -1., -1.,  1.])
    """

    frequency: float = 20.0
    stage: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.frequency < math.inf or self.stage not in (1, 2):
            raise CompressError(
                f"BiPer got frequency={self.frequency!r} and stage={self.stage!r}.",
                why="The frequency is above zero and there are two stages.",
                hint="BiPer(frequency=20.0, stage=2).",
            )

    def __call__(self, weight: Tensor) -> Tensor:
        """The binary weight, or in stage 1 the sine."""
        sine = torch.sin(self.frequency * weight)
        return sine if self.stage == 1 else straight_through(signs(sine.detach()), sine)


def approximate_sign(x: Tensor) -> Tensor:
    """sign(x), never 0, with the gradient max(0, 2 - 2|x|) of Bi-Real net's polynomial.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import approximate_sign
        >>> x = torch.tensor([-2.0, -0.25, 0.5], requires_grad=True)
        >>> approximate_sign(x).sum().backward()
        >>> x.grad
        tensor([0.0000, 1.5000, 1.0000])
    """
    inside = x.clamp(-1, 1)
    return straight_through(signs(x.detach()), inside * (2 - inside.abs()))


class _Binary(nn.Module):
    """What the binary layers share: how weights and inputs become signs, and the scale."""

    weight: nn.Parameter

    def _setup(self, frequency: float, rule: WeightRule, scale: Scale, outputs: int) -> None:
        for name, value, known in (("rule", rule, WeightRule), ("scale", scale, Scale)):
            if value not in get_args(known):
                raise CompressError(
                    f"{type(self).__name__} got {name}={value!r}.",
                    hint=near_misses(str(value), get_args(known)),
                )
        self.biper = BiPer(frequency=frequency)
        self.rule, self.scale = rule, scale
        self.alpha = nn.Parameter(torch.ones(outputs)) if scale == "learned" else None

    def binary_weight(self) -> Tensor:
        """The weight the layer computes with, without the scale."""
        if self.rule == "biper":
            return self.biper(self.weight)
        return straight_through(signs(self.weight.detach()), self.weight.clamp(-1, 1))

    def _scaled(self, y: Tensor, channel_dim: int) -> Tensor:
        if self.scale == "none":
            return y
        learned = self.alpha
        factor = self.weight.abs().flatten(1).mean(1) if learned is None else learned
        shape = [1] * y.dim()
        shape[channel_dim] = -1
        return y * factor.reshape(shape)

    @staticmethod
    def _binary_input(x: Tensor) -> Tensor:
        """Signs of the input, which the gradient sees at unit spread per example."""
        spread = x.detach().flatten(1).var(1, unbiased=False).add(1e-5).rsqrt()
        return approximate_sign(x * spread.reshape(-1, *(1,) * (x.dim() - 1)))

    def extra_repr(self) -> str:
        """The settings."""
        return f"{tuple(self.weight.shape)}, rule={self.rule!r}, scale={self.scale!r}"


@implements(55)
class BinaryLinear(_Binary):
    """A linear layer of signs: binary inputs times binary weights, times one scale per output.

    The input's spread is taken per example in both modes: a sign does not depend on it, only the
    gradient does.

    Args:
        in_features: Inputs.
        out_features: Outputs.
        frequency: Of `BiPer`.
        rule: ``biper``, or ``sign`` for the plain sign with a straight-through gradient.
        scale: ``learned``, the ``mean`` magnitude of the weights, or ``none``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import BinaryLinear
        >>> layer = BinaryLinear(in_features=8, out_features=4, scale="none")
        >>> bool((layer(torch.randn(2, 8)) % 2 == 0).all())
        True
    """

    def __init__(
        self,
        *,
        in_features: int,
        out_features: int,
        frequency: float = 20.0,
        rule: WeightRule = "biper",
        scale: Scale = "learned",
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self._setup(frequency, rule, scale, out_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights as `nn.Linear` draws them; scales of 1 / sqrt(inputs)."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.alpha is not None:
            nn.init.constant_(self.alpha, self.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return self._scaled(F.linear(self._binary_input(x), self.binary_weight()), -1)


@implements(55)
class BinaryConv2d(_Binary):
    """A convolution of signs; the border is padded with zeros, which count for nothing.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel.
        stride: Step.
        padding: Pixels on each side.
        frequency: Of `BiPer`.
        rule: ``biper``, or ``sign`` for the plain sign with a straight-through gradient.
        scale: ``learned``, the ``mean`` magnitude of the weights, or ``none``.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import BinaryConv2d
        >>> BinaryConv2d(in_channels=2, out_channels=4, kernel_size=3)(torch.ones(1, 2, 5, 5)).shape
        torch.Size([1, 4, 3, 3])
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        frequency: float = 20.0,
        rule: WeightRule = "biper",
        scale: Scale = "learned",
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self._setup(frequency, rule, scale, out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights as `nn.Conv2d` draws them; scales of 1 / sqrt(inputs of an output)."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.alpha is not None:
            nn.init.constant_(self.alpha, self.weight[0].numel() ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height', width')."""
        y = F.conv2d(
            self._binary_input(x), self.binary_weight(), stride=self.stride, padding=self.padding
        )
        return self._scaled(y, 1)


def set_stage_(network: nn.Module, stage: int) -> int:
    """Puts all BiPer layers of a network into a stage of the training; gives their number.

    Example:
        >>> from torch import nn
        >>> from supple.compress.quantize import BinaryLinear, set_stage_
        >>> set_stage_(nn.Sequential(BinaryLinear(in_features=2, out_features=2)), 1)
        1
    """
    layers = [part for part in network.modules() if isinstance(part, _Binary)]
    for layer in layers:
        layer.biper = BiPer(frequency=layer.biper.frequency, stage=stage)
    return len(layers)


def binarization_error(network: nn.Module) -> float:
    """Mean |sin(w0 w) - sign(sin(w0 w))| over the weights of all BiPer layers."""
    errors = []
    for part in network.modules():
        if isinstance(part, _Binary) and part.rule == "biper":
            sine = torch.sin(part.biper.frequency * part.weight.detach())
            errors.append((sine - signs(sine)).abs().flatten())
    return float(torch.cat(errors).mean()) if errors else 0.0


def binarize_(network: nn.Module, *, skip: Iterable[str] = (), **settings: Any) -> list[str]:
    """Replaces linear layers and plain convolutions by binary ones of the same weights, in place.

    The first and the last layer are usually left: pass their names. Biases are left out: a batch
    norm behind the layer has one.

    Args:
        network: Any module.
        skip: Names of layers to leave.
        **settings: ``frequency``, ``rule`` and ``scale`` of the binary layers.

    Returns:
        The names of the layers that were replaced.

    Raises:
        CompressError: Nothing is left to replace, or a name is not there.

    Example:
        >>> from torch import nn
        >>> from supple.compress.quantize import binarize_
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
        >>> binarize_(network, skip=["0", "2"])
        ['1']
    """
    leave = set(skip)
    found = {name: part for name, part in network.named_modules() if _can_be_binary(part)}
    for name in leave:
        if name not in found:
            raise CompressError(f"there is no layer '{name}'.", hint=near_misses(name, found))
    names = [name for name in found if name and name not in leave]
    if not names:
        raise CompressError(
            f"the {type(network).__name__} has no layer to make binary.",
            why="Linear layers, and convolutions of one group without dilation, are.",
            hint="skip fewer layers.",
        )
    for name in names:
        network.set_submodule(name, _binary_twin(found[name], settings))
    return names


def _can_be_binary(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d):
        square = part.kernel_size[0] == part.kernel_size[1] and part.stride[0] == part.stride[1]
        plain = part.groups == 1 and part.dilation == (1, 1) and part.padding_mode == "zeros"
        same = not isinstance(part.padding, str) and part.padding[0] == part.padding[1]
        return square and plain and same
    return isinstance(part, nn.Linear)


def _binary_twin(part: Any, settings: dict[str, Any]) -> nn.Module:
    if isinstance(part, nn.Conv2d):
        twin: BinaryConv2d | BinaryLinear = BinaryConv2d(
            in_channels=part.in_channels, out_channels=part.out_channels,
            kernel_size=part.kernel_size[0], stride=part.stride[0], padding=int(part.padding[0]),
            **settings,
        )  # fmt: skip
    else:
        twin = BinaryLinear(
            in_features=part.in_features, out_features=part.out_features, **settings
        )
    with torch.no_grad():
        twin.weight.copy_(part.weight)
    return twin.to(part.weight).train(part.training)


def pack_signs(x: Tensor) -> Tensor:
    """±1 values as bits, eight in a byte, along the flattened tensor; 1 is a set bit.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import pack_signs
        >>> pack_signs(torch.tensor([1.0, -1.0, 1.0])).tolist()
        [5]
    """
    if not bool((x.abs() == 1).all()):
        raise CompressError("values other than -1 and 1 cannot be packed as signs.")
    bits = F.pad((x.flatten() > 0).to(torch.uint8), (0, -x.numel() % 8)).reshape(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(1).to(torch.uint8)


def unpack_signs(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The ±1 values of :func:`pack_signs`, as float32."""
    bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    return bits.flatten()[: math.prod(shape)].reshape(shape).float() * 2 - 1
