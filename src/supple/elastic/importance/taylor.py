"""Importance by first-order Taylor expansion: how much the loss changes without an index.

P. Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019 (1906.10771). For
indices, the square of sum(w * dL/dw) over what an index owns in one tensor, averaged over
batches. Blocks are ordered by trying: the one whose removal raises the loss least goes first,
then the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from supple.elastic.importance._base import (
    Loss,
    Normalise,
    Scores,
    calibration,
    check_normalise,
    normalised,
    sum_over_group,
)
from supple.elastic.importance._blocks import block_orders
from supple.elastic.importance._gradients import in_evaluation, loss_gradients, trained_weights

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Taylor"]


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """First-order importance on calibration batches.

    Args:
        batches: ``(inputs, targets)`` pairs; a few are enough.
        loss: ``loss(outputs, targets)``, a scalar.
        order_blocks: Whether blocks are ordered too, by the loss without them.
        block_batches: How many of the batches blocks are ordered with; every block of a stage is
            tried once for each that is dropped.
        normalise: How axes are made comparable.
    """

    name: ClassVar[str] = "taylor"

    batches: Iterable[tuple[Any, Any]]
    loss: Loss
    order_blocks: bool = True
    block_batches: int = 2
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, and the order of its blocks."""
        batches = calibration(self.batches)
        blocks: dict[str, tuple[int, ...]] = {}
        with in_evaluation(net):
            totals = self._axes(net, batches)
            if self.order_blocks:
                blocks = block_orders(net, batches[: self.block_batches], self.loss)
        return Scores(axes=normalised(totals, self.normalise), blocks=blocks)

    def _axes(self, net: Elastic, batches: list[tuple[Any, Any]]) -> dict[str, Tensor]:
        totals = {axis.name: torch.zeros(axis.size).double() for axis in net.structure.axes}
        weights = trained_weights(net)
        for batch in batches:
            gradients = loss_gradients(net, weights, batch, self.loss)
            change = {n: (weights[n].detach() * g).double() for n, g in gradients.items()}
            for name, parts in sum_over_group(net, change).items():
                for part in parts.values():
                    totals[name] += part**2
        return totals
