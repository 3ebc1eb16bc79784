"""What a scorer is, and the sum over everything that an axis cuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from supple.elastic._cutting import owners

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Scorer", "Scores", "sum_over_group"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Importance of indices and blocks.

    Args:
        axes: For each axis (by name) one number for each index, larger is more important.
        blocks: For some stages (by name) the positions of their blocks, the one to keep longest
            first.
    """

    axes: Mapping[str, Tensor]
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Scorer(Protocol):
    """Gives the importance of every index of every elastic axis."""

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, in the order its indices are stored now."""
        ...


def sum_over_group(net: Elastic, values: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """For every axis and every tensor that it cuts, the sum of ``values`` at each index.

    Args:
        net: The network whose axes are meant.
        values: One number for each element of some stored tensors, by canonical name.

    Returns:
        By axis name and tensor name, a vector as long as the axis.
    """
    structure = net.structure
    sums: dict[str, dict[str, Tensor]] = {}
    for axis in structure.axes:
        mine = sums.setdefault(axis.name, {})
        for member in axis.members:
            if member.tensor not in values:
                continue
            value = values[member.tensor]
            others = [d for d in range(value.ndim) if d != member.dim]
            along = value.sum(others) if others else value
            dimension = structure.analysis.stored[member.tensor][member.dim]
            total = mine.setdefault(member.tensor, torch.zeros(axis.size, dtype=value.dtype))
            for owner in owners(dimension, axis.axis):
                inside = owner >= 0
                total.index_add_(0, owner[inside], along[inside])
    return sums
