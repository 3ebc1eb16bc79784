"""Dilated convolution with learnable spacings (DCLS): where a kernel's taps sit is learned.

A kernel of a few taps is spread over a large window: each tap has a real-valued position, and an
interpolation shares its weight among the cells around it, so that positions have gradients. The
dense kernel is built from factors, one for each spatial dimension, and an ordinary convolution
follows.

Paper 29: Khalfaoui-Hassani, Pellegrini, Masquelier, "Dilated convolution with learnable spacings"
(arXiv 2112.03740).
"""

# O output channels, I input channels of a group, M taps, S window

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import (
    check_channels,
    check_divides,
    check_option,
    check_positive,
    check_rank,
)
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "DCLSConv1d",
    "DCLSConv2d",
    "DCLSConv3d",
    "clamp_positions",
    "clamp_positions_after",
    "dcls_param_groups",
]

Version = Literal["v0", "v1", "max", "gauss"]

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_PLAIN: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_LEAST_WIDTH = {"max": 1.0, "gauss": 0.27}
_FIRST_WIDTH = {"max": 0.0, "gauss": 0.23}


class _DCLSConv(nn.Module):
    """What the three convolutions share; ``rank`` is the number of spatial dimensions."""

    rank: int

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        dilated_kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        version: Version = "v1",
        shared_positions: nn.Parameter | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            self,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_count=kernel_count,
            dilated_kernel_size=dilated_kernel_size,
            stride=stride,
            groups=groups,
        )
        check_option(self, "version", version, get_args(Version))
        check_divides(self, "in_channels", in_channels, "groups", groups)
        check_divides(self, "out_channels", out_channels, "groups", groups)
        if kernel_count > dilated_kernel_size**self.rank:
            raise BlockError(
                f"{type(self).__name__} got kernel_count={kernel_count} and a window of "
                f"{dilated_kernel_size}**{self.rank} cells.",
                why="More taps than cells is a dense kernel with double positions.",
                hint="use fewer taps, a larger window or a plain convolution.",
                kernel_count=kernel_count,
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_count = kernel_count
        self.dilated_kernel_size = dilated_kernel_size
        self.stride = stride
        self.padding = padding
        self.groups = groups
        self.version = version
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        shape = (out_channels, in_channels // groups, kernel_count)
        self.weight = nn.Parameter(torch.empty(shape, **made))
        self.owns_positions = shared_positions is None
        if shared_positions is None:
            shared_positions = nn.Parameter(torch.empty((self.rank, *shape), **made))
        if shared_positions.shape != (self.rank, *shape):
            raise BlockError(
                f"{type(self).__name__} got shared_positions of shape "
                f"{tuple(shared_positions.shape)}.",
                why=f"It needs (dimensions, out, in / groups, taps) = {(self.rank, *shape)}.",
                hint="share positions among convolutions of the same sizes.",
            )
        self.positions = shared_positions
        has_width = version in _LEAST_WIDTH
        self.width = nn.Parameter(torch.empty((self.rank, *shape), **made)) if has_width else None
        self.bias = nn.Parameter(torch.empty(out_channels, **made)) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Weights as a convolution's with M taps, positions normal around the centre."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.owns_positions:
            nn.init.normal_(self.positions, std=0.5, generator=generator)
            self.clamp_positions_()
        if self.width is not None:
            nn.init.constant_(self.width, _FIRST_WIDTH[self.version])
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight.shape[1] * self.kernel_count)
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)

    @property
    def centre(self) -> int:
        """The cell that position 0 stands for."""
        return self.dilated_kernel_size // 2

    @torch.no_grad()
    def clamp_positions_(self) -> None:
        """Moves positions that left the window back to its border."""
        self.positions.clamp_(-self.centre, self.dilated_kernel_size - 1 - self.centre)

    def dense_kernel(self) -> Tensor:
        """The kernel (O, I, S, …) of the ordinary convolution that this one is."""
        factors = [self._factor(d) for d in range(self.rank)]
        if self.version != "v0":  # a tap's shares add up to one over the whole window
            factors = [f / (f.sum(-1, keepdim=True) + 1e-7) for f in factors]
        letters = "xyz"[: self.rank]
        spread = ",".join(f"oim{letter}" for letter in letters)
        return torch.einsum(f"oim,{spread}->oi{letters}", self.weight, *factors)

    def _factor(self, dim: int) -> Tensor:
        """Share of each tap in each cell along one dimension, (O, I, M, S)."""
        size = self.dilated_kernel_size
        cells = torch.arange(size, device=self.weight.device, dtype=self.weight.dtype)
        place = (self.positions[dim] + self.centre).unsqueeze(-1)
        if self.version == "v0":
            below = place.detach().floor()
            rest = place - below
            return (cells == below) * (1 - rest) + (cells == below + 1) * rest
        distance = cells - place
        if self.width is None:
            return torch.relu(1 - distance.abs())
        width = (self.width[dim].abs() + _LEAST_WIDTH[self.version]).unsqueeze(-1)
        if self.version == "max":
            return torch.relu(width - distance.abs())
        return torch.exp(-0.5 * (distance / width).square())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, spatial…) to (batch, out_channels, spatial…)."""
        check_rank(self, x, exactly=self.rank + 2)
        check_channels(self, x, self.in_channels)
        result: Tensor = _CONVOLVE[self.rank](
            x,
            self.dense_kernel(),
            self.bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )
        return result

    @torch.no_grad()
    def to_conv(self) -> nn.Module:
        """The plain convolution with this dense kernel, for inference."""
        plain = _PLAIN[self.rank](
            self.in_channels,
            self.out_channels,
            self.dilated_kernel_size,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            bias=self.bias is not None,
            device=self.weight.device,
            dtype=self.weight.dtype,
        )
        plain.weight.copy_(self.dense_kernel())
        if self.bias is not None:
            plain.bias.copy_(self.bias)
        made: nn.Module = plain.train(self.training)
        return made

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_count={self.kernel_count}, "
            f"dilated_kernel_size={self.dilated_kernel_size}, groups={self.groups}, "
            f"version={self.version!r}"
        )


@implements(29)
class DCLSConv1d(_DCLSConv):
    """Over one spatial dimension; the arguments are those of `DCLSConv2d`.

    Example:
        >>> block = DCLSConv1d(
        ...     in_channels=2, out_channels=4, kernel_count=3, dilated_kernel_size=9, padding=4
        ... )
        >>> block(torch.randn(1, 2, 20)).shape
        torch.Size([1, 4, 20])
    """

    rank = 1


@implements(29)
class DCLSConv2d(_DCLSConv):
    """Over two spatial dimensions.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_count: Taps M of each kernel.
        dilated_kernel_size: Side S of the window the taps move in.
        stride: Step of the convolution.
        padding: Zeros at each border; ``S // 2`` keeps the size for odd S.
        groups: Groups of channels; as many as channels is a depthwise convolution.
        bias: Whether there is a shift for each output channel.
        version: How a tap is shared among cells: ``v0`` by floor and fraction, ``v1`` a triangle
            scaled to sum one, ``max`` a triangle of learned width, ``gauss`` a bell.
        shared_positions: Positions (2, out, in / groups, taps) of another such convolution.

    Positions count from the window's centre and stay within ``[-(S // 2), S - 1 - S // 2]``, the
    cells there are; call `clamp_positions` after each step of the optimiser, or
    `clamp_positions_after` once.

    Raises:
        BlockError: Groups that do not divide the channels, more taps than cells, a wrong input.

    Example:
        >>> block = DCLSConv2d(
        ...     in_channels=8, out_channels=8, groups=8, kernel_count=5, dilated_kernel_size=7,
        ...     padding=3,
        ... )
        >>> block(torch.randn(1, 8, 10, 10)).shape
        torch.Size([1, 8, 10, 10])
    """

    rank = 2


@implements(29)
class DCLSConv3d(_DCLSConv):
    """Over three spatial dimensions; the arguments are those of `DCLSConv2d`.

    Example:
        >>> block = DCLSConv3d(
        ...     in_channels=1, out_channels=2, kernel_count=4, dilated_kernel_size=3, padding=1
        ... )
        >>> block(torch.randn(1, 1, 5, 5, 5)).shape
        torch.Size([1, 2, 5, 5, 5])
    """

    rank = 3


def _positions(model: nn.Module) -> set[nn.Parameter]:
    return {m.positions for m in model.modules() if isinstance(m, _DCLSConv)}


@implements(29)
def dcls_param_groups(
    model: nn.Module, *, lr: float, position_lr_mult: float = 5.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: positions learn faster and do not decay.

    Example:
        >>> net = DCLSConv1d(in_channels=1, out_channels=1, kernel_count=2, dilated_kernel_size=5)
        >>> [group["lr"] for group in dcls_param_groups(net, lr=0.1)]
        [0.1, 0.5]
    """
    positions = _positions(model)
    others = [p for p in model.parameters() if p not in positions]
    moved = [p for p in model.parameters() if p in positions]
    return [
        {"params": others, "lr": lr, "weight_decay": weight_decay},
        {"params": moved, "lr": lr * position_lr_mult, "weight_decay": 0.0},
    ]


def clamp_positions(modules: nn.Module | Iterable[nn.Module]) -> None:
    """Clamps the positions of every such convolution in a model.

    Example:
        >>> net = DCLSConv1d(in_channels=1, out_channels=1, kernel_count=2, dilated_kernel_size=5)
        >>> net.positions.data.fill_(9.0).max().item()
        9.0
        >>> clamp_positions(net)
        >>> net.positions.max().item()
        2.0
    """
    for root in [modules] if isinstance(modules, nn.Module) else modules:
        for module in root.modules():
            if isinstance(module, _DCLSConv):
                module.clamp_positions_()


def clamp_positions_after(optimizer: torch.optim.Optimizer, model: nn.Module) -> Any:
    """Clamps after every step of an optimiser; returns the handle that ends it.

    Example:
        >>> net = DCLSConv1d(in_channels=1, out_channels=1, kernel_count=2, dilated_kernel_size=5)
        >>> handle = clamp_positions_after(torch.optim.SGD(net.parameters(), lr=0.1), net)
        >>> handle.remove()
    """
    return optimizer.register_step_post_hook(lambda *_: clamp_positions(model))
