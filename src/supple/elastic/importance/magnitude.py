"""Importance by weight: the norm of everything that would be cut with an index.

H. Li et al., "Pruning Filters for Efficient ConvNets", 2016 (1608.08710), over the whole group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from supple.elastic.importance._base import (
    Normalise,
    Scores,
    check_normalise,
    normalised,
    sum_over_group,
)

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Magnitude"]


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """The p-norm of the weights that an index owns, in every tensor, each tensor counting alike.

    The sum of |w|^p over what the index owns in one tensor, divided by its mean over the axis,
    added over the tensors. Biases do not count, as long as an axis has anything else: how large
    one is says little of its unit (a very negative one switches a ReLU off).

    Args:
        p: 1 or 2.
        normalise: How axes are made comparable.

    Example:
        >>> from torch import nn
        >>> from supple import Elastic
        >>> model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1))
        >>> _ = nn.init.ones_(model[0].weight), nn.init.ones_(model[2].weight)
        >>> _ = model[0].weight.data[1].mul_(3)
        >>> net = Elastic(model, (torch.ones(2, 2),))
        >>> Magnitude(normalise="max").scores(net).axes["0.width"].argmax().item()
        1
    """

    name: ClassVar[str] = "magnitude"

    p: int = 1
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

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
            found = sums[axis.name]
            counted = [total for name, total in found.items() if not _is_bias(name)]
            totals = counted or list(found.values())
            parts = [total / total.mean().clamp_min(1e-30) for total in totals]
            scores[axis.name] = torch.stack(parts).sum(0) if parts else torch.zeros(axis.size)
        return Scores(axes=normalised(scores, self.normalise))


def _is_bias(name: str) -> bool:
    """A parameter called so: ``bias``, ``in_proj_bias``."""
    return "bias" in name.rpartition(".")[2].split("_")
