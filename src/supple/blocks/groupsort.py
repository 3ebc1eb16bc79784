"""GroupSort, MaxMin and Householder: activations that only permute or reflect coordinates.

They keep the length of every gradient, so a network of orthogonal layers keeps a Lipschitz
constant of one without losing expressive power. MaxMin is GroupSort with groups of two, and a
Householder activation with ``v = (1, -1) / sqrt(2)``.

Paper 28: Pauli, Havens, Araujo, Garg, Khorrami, Allgöwer, Hu, "Novel Quadratic Constraints for
Extending LipSDP beyond Slope-Restricted Activations" (arXiv 2401.14033).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from supple.blocks._checks import check_divides, check_positive, check_rank
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["GroupSort", "Householder", "MaxMin"]


@implements(28)
class GroupSort(nn.Module):
    """Sorts the channels within each group of neighbours, ascending.

    Args:
        group_size: Channels in a group, at least 2.
        dim: The dimension of the channels.

    Raises:
        BlockError: The channels are not a multiple of ``group_size``.

    Example:
        >>> GroupSort(group_size=3)(torch.tensor([[3.0, 1.0, 2.0]]))
        tensor([[1., 2., 3.]])
    """

    def __init__(self, *, group_size: int = 2, dim: int = 1) -> None:
        super().__init__()
        check_positive(self, group_size=group_size - 1)
        self.group_size = group_size
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Input and output of any shape with the channels in ``dim``."""
        channels, dim = _grouped(self, x, self.dim, self.group_size)
        groups = torch.unflatten(x, dim, (channels // self.group_size, self.group_size))
        return torch.sort(groups, dim=dim + 1).values.flatten(dim, dim + 1)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"group_size={self.group_size}, dim={self.dim}"


@implements(28)
class MaxMin(nn.Module):
    """The smaller and the larger of each pair of neighbouring channels: ``GroupSort`` of two.

    Args:
        dim: The dimension of the channels.

    Raises:
        BlockError: The number of channels is odd.

    Example:
        >>> MaxMin()(torch.tensor([[3.0, 1.0, 2.0, 5.0]]))
        tensor([[1., 3., 2., 5.]])
    """

    def __init__(self, *, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Input and output of any shape with the channels in ``dim``."""
        channels, dim = _grouped(self, x, self.dim, 2)
        pairs = torch.unflatten(x, dim, (channels // 2, 2))
        a, b = pairs.unbind(dim + 1)
        return torch.stack((torch.minimum(a, b), torch.maximum(a, b)), dim + 1).flatten(
            dim, dim + 1
        )

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"dim={self.dim}"


@implements(28)
class Householder(nn.Module):
    """Reflects each pair of channels at a learned line, where it lies beyond that line.

    For a pair x and a unit vector ``v = (cos t, sin t)``: x if ``v . x <= 0``, else
    ``x - 2 v (v . x)``. One angle t for each pair; the initial ``t = -pi/4`` is MaxMin.

    Args:
        num_features: Number of channels, even.
        dim: The dimension of the channels.

    Raises:
        BlockError: The number of channels is odd, or not that of the input.

    Example:
        >>> Householder(num_features=2)(torch.tensor([[3.0, 1.0]])).detach().round()
        tensor([[1., 3.]])
    """

    def __init__(
        self,
        *,
        num_features: int,
        dim: int = 1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, num_features=num_features)
        check_divides(self, "num_features", num_features, "2", 2)
        self.num_features = num_features
        self.dim = dim
        self.angle = nn.Parameter(torch.empty(num_features // 2, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every angle to that of MaxMin."""
        nn.init.constant_(self.angle, -math.pi / 4)

    def forward(self, x: Tensor) -> Tensor:
        """Input and output of any shape with the channels in ``dim``."""
        channels, dim = _grouped(self, x, self.dim, 2, self.num_features)
        a, b = torch.unflatten(x, dim, (channels // 2, 2)).unbind(dim + 1)
        angle = self.angle.reshape(-1, *[1] * (x.dim() - dim - 1))
        cos, sin = torch.cos(angle), torch.sin(angle)
        beyond = torch.relu(cos * a + sin * b)  # v . x where positive
        pair = torch.stack((a - 2 * cos * beyond, b - 2 * sin * beyond), dim + 1)
        return pair.flatten(dim, dim + 1)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"num_features={self.num_features}, dim={self.dim}"


def _grouped(
    module: nn.Module, x: Tensor, dim: int, size: int, channels: int | None = None
) -> tuple[int, int]:
    """Number of channels and the dimension they are in, from 0 up."""
    check_rank(module, x, at_least=dim + 1 if dim >= 0 else -dim)
    dim = dim % x.dim()
    found = x.shape[dim]
    if found % size or (channels is not None and found != channels):
        wanted = (
            f"{channels} channels" if channels is not None else f"a multiple of {size} channels"
        )
        raise BlockError(
            f"{type(module).__name__} got an input of shape {tuple(x.shape)}.",
            why=f"It takes {wanted} in dimension {dim}, got {found}.",
            hint="change the width of the layer before, or the settings of the block.",
            shape=tuple(x.shape),
        )
    return found, dim
