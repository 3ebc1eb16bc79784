"""Importance by the scales of the batch norms along an axis.

Z. Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", 2017
(1708.06519): a channel whose scale is near zero says nothing to what follows. The paper trains
with an L1 penalty on the scales first; without it they tell less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import fx

from supple.elastic.importance._base import (
    Normalise,
    Scores,
    check_normalise,
    normalised,
    sum_over_group,
)
from supple.elastic.importance.magnitude import Magnitude

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["BatchNormScale"]


@dataclass(frozen=True, kw_only=True)
class BatchNormScale:
    """Mean of |scale| over the batch norms along an axis.

    An axis without a batch norm is scored by the norm of its weights, as `Magnitude` does.

    Args:
        normalise: How axes are made comparable; ``none`` leaves the scales as they are, as the
            paper does, and then the axes without a batch norm are on another scale.
    """

    name: ClassVar[str] = "batch_norm_scale"

    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes."""
        scales = _scale_names(net)
        sizes = {
            name: weight.detach().abs().double()
            for name, weight in net.named_weights()
            if name in scales
        }
        scores = dict(Magnitude().scores(net).axes)
        for name, parts in sum_over_group(net, sizes).items():
            if parts:
                scores[name] = torch.stack(list(parts.values())).mean(0)
        return Scores(axes=normalised(scores, self.normalise))


def _scale_names(net: Elastic) -> set[str]:
    """Canonical names of the scales that batch norms multiply by."""
    analysis = net.structure.analysis
    names = set()
    for one in analysis.captures:
        for node in one.calls:
            if node.target is torch.ops.aten.batch_norm.default:
                scale = node.args[1]
                if isinstance(scale, fx.Node) and scale in one.sources:
                    names.add(analysis.canonical[one.sources[scale].name])
    return names
