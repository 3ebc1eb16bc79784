"""Group-to-group sparse layers (paper 8, arXiv 2508.14140).

The units of both sides of a layer are divided into groups. Group k talks fully to group k of the
next layer and sparsely to the others, so a network is a few dense parts with some wires between
them.

What the paper says of its mixing groups is not certain: here layers alternate between contiguous
groups and strided ones (unit i in group i mod G), see ``grouping``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_features, check_known, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["GroupSparseLinear", "group_labels", "group_sparse_mask"]

Grouping = Literal["index", "random", "strided"]

_GROUPINGS = {"index": 0, "random": 1, "strided": 2}


@implements(8)
class GroupSparseLinear(nn.Module):
    """A linear layer whose connections are dense inside of groups and sparse between them.

    The mask is drawn once and is a buffer. Its density is near
    ``p_intra / groups + p_inter * (1 - 1 / groups)``. Weights are drawn for the connections that a
    unit really has. A network of them alternates ``in_grouping`` and ``out_grouping`` to mix, for
    instance index to strided, then strided to index.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        groups: Groups on each side; sizes may differ by one.
        p_intra: Probability of a connection inside of a group.
        p_inter: Probability of a connection between groups.
        in_grouping: How input units are grouped: ``index`` (neighbours together), ``strided`` or
            ``random``.
        out_grouping: The same for output units.
        bias: Whether a bias is added.

    Example:
        >>> import torch
        >>> layer = GroupSparseLinear(16, 8, groups=4, p_inter=0.0)
        >>> layer(torch.randn(5, 16)).shape, layer.mask.float().mean().item()
        (torch.Size([5, 8]), 0.25)
    """

    mask: Tensor

    def __init__(
        self, in_features: int, out_features: int, *, groups: int = 8, p_intra: float = 1.0,
        p_inter: float = 0.15, in_grouping: Grouping = "index", out_grouping: Grouping = "index",
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_positive(name, in_features=in_features, out_features=out_features, groups=groups)
        for side, value in (("in_grouping", in_grouping), ("out_grouping", out_grouping)):
            check_known(name, side, value, _GROUPINGS)
        if groups > min(in_features, out_features):
            raise BlockError(
                f"{name} got {groups} groups for {in_features} inputs and {out_features} outputs.",
                why="Every group has a unit on both sides.",
                hint=f"groups={min(in_features, out_features)} or fewer",
            )
        for side, share in (("p_intra", p_intra), ("p_inter", p_inter)):
            if not 0 <= share <= 1:
                raise BlockError(f"{name} got {side}={share}.", hint="a probability from 0 to 1")
        self.in_features, self.out_features, self.groups = in_features, out_features, groups
        self.p_intra, self.p_inter = p_intra, p_inter
        self.in_grouping, self.out_grouping = in_grouping, out_grouping
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.register_buffer("mask", torch.empty(out_features, in_features, dtype=torch.bool))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the mask, and the weights by the connections every unit has."""
        into = group_labels(self.in_features, self.groups, self.in_grouping)
        out = group_labels(self.out_features, self.groups, self.out_grouping)
        with torch.no_grad():
            self.mask.copy_(group_sparse_mask(into, out, self.p_intra, self.p_inter))
            # Uniform of variance 1 / (3 n), as nn.Linear, n being the inputs a unit really has.
            bound = self.mask.sum(1, keepdim=True).clamp_min(1).to(self.weight.dtype).rsqrt()
            self.weight.copy_(bound * (2 * torch.rand_like(self.weight) - 1))
            if self.bias is not None:
                self.bias.uniform_(
                    -1 / math.sqrt(self.in_features), 1 / math.sqrt(self.in_features)
                )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features(type(self).__name__, x, self.in_features)
        return F.linear(x, self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return (
            f"{self.in_features}, {self.out_features}, groups={self.groups}, "
            f"p_intra={self.p_intra}, p_inter={self.p_inter}"
        )


def group_labels(units: int, groups: int, grouping: Grouping) -> Tensor:
    """The group of every unit; ``random`` draws from torch's own random numbers.

    Example:
        >>> group_labels(6, 2, "index").tolist(), group_labels(6, 2, "strided").tolist()
        ([0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1])
    """
    if grouping == "strided":
        return torch.arange(units) % groups
    labels = torch.arange(units) * groups // units
    return labels[torch.randperm(units)] if grouping == "random" else labels


@implements(8)
def group_sparse_mask(
    in_groups: Tensor,
    out_groups: Tensor,
    p_intra: float,
    p_inter: float,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random connections, True where there is one, of shape (outputs, inputs).

    Args:
        in_groups: Group of each input unit.
        out_groups: Group of each output unit.
        p_intra: Probability inside of a group.
        p_inter: Probability between groups.
        generator: Of the draws; by default torch's own random numbers.

    Example:
        >>> import torch
        >>> group_sparse_mask(torch.tensor([0, 1]), torch.tensor([0, 1]), 1.0, 0.0).int().tolist()
        [[1, 0], [0, 1]]
    """
    same = out_groups[:, None] == in_groups[None, :]
    draws = torch.rand(same.shape, generator=generator)
    return torch.where(same, draws < p_intra, draws < p_inter)
