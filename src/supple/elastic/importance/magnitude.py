"""Importance by weight: the norm of everything that would be cut with an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from supple.elastic.importance._base import Scores, sum_over_group

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Magnitude"]


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """The p-norm of the weights that an index owns, in every tensor, each tensor counting alike.

    Args:
        p: 1 or 2.
    """

    p: int = 1

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes."""
        with torch.no_grad():
            powers = {
                name: tensor.detach().abs().double() ** self.p
                for name, tensor in net.named_weights()
            }
            sums = sum_over_group(net, powers)
        scores = {}
        for axis in net.structure.axes:
            parts = [total / total.mean().clamp_min(1e-30) for total in sums[axis.name].values()]
            scores[axis.name] = torch.stack(parts).sum(0) if parts else torch.zeros(axis.size)
        return Scores(axes=scores)
