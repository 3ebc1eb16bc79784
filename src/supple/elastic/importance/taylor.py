"""Importance by first-order Taylor expansion: how much the loss changes without an index.

P. Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019. For indices, the
square of sum(w * dL/dw) over what an index owns in one tensor, averaged over batches. Blocks are
ordered by trying: the one whose removal raises the loss least goes first, then the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from supple.elastic._call import call
from supple.elastic.importance._base import Scores, sum_over_group
from supple.errors import DataError

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
    """

    batches: Iterable[tuple[Any, Any]]
    loss: Callable[[Any, Any], Tensor]
    order_blocks: bool = True
    block_batches: int = 2

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, and the order of its blocks."""
        batches = list(self.batches)
        if not batches:
            raise DataError(
                "the calibration data is empty.", hint="pass at least one (inputs, targets) batch."
            )
        was_training = net.training
        net.eval()
        try:
            totals = self._axes(net, batches)
            blocks = self._blocks(net, batches[: self.block_batches]) if self.order_blocks else {}
        finally:
            net.train(was_training)
        return Scores(axes=totals, blocks=blocks)

    def _axes(self, net: Elastic, batches: list[tuple[Any, Any]]) -> dict[str, Tensor]:
        totals = {axis.name: torch.zeros(axis.size).double() for axis in net.structure.axes}
        weights = dict(net.named_weights())
        wanted = {n: w for n, w in weights.items() if w.requires_grad}
        for inputs, targets in batches:
            loss = self.loss(call(net, inputs), targets)
            gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
            change = {
                name: (weight.detach() * gradient).double()
                for (name, weight), gradient in zip(wanted.items(), gradients, strict=True)
                if gradient is not None
            }
            for name, parts in sum_over_group(net, change).items():
                for part in parts.values():
                    totals[name] += part**2
        return totals

    def _blocks(self, net: Elastic, batches: list[tuple[Any, Any]]) -> dict[str, tuple[int, ...]]:
        orders = {}
        for stage in net.structure.stages:
            remaining = list(range(len(stage.blocks)))
            dropped: list[int] = []
            while len(remaining) > 1:
                losses = [
                    self._loss_without(net, stage.name, [*dropped, b], batches) for b in remaining
                ]
                dropped.append(remaining.pop(losses.index(min(losses))))
            orders[stage.name] = (*remaining, *reversed(dropped))
        return orders

    def _loss_without(
        self, net: Elastic, stage: str, blocks: list[int], batches: list[tuple[Any, Any]]
    ) -> float:
        network = net.without_blocks({stage: blocks})
        with torch.no_grad():
            return sum(
                self.loss(call(network, inputs), targets).item() for inputs, targets in batches
            )
