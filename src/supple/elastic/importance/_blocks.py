"""The order in which the blocks of a stage are kept, found by trying.

The block whose removal raises the loss least goes first, then the next: greedy backward
elimination. A stage of n blocks takes about n^2 / 2 passes over the batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from supple.elastic._call import call
from supple.elastic.importance._base import Loss

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["block_orders"]


def block_orders(
    net: Elastic, batches: Sequence[tuple[Any, Any]], loss: Loss
) -> dict[str, tuple[int, ...]]:
    """For every stage the positions of its blocks, the one to keep longest first.

    Args:
        net: A network, in the mode that its loss is to be taken in.
        batches: ``(inputs, targets)`` pairs that the losses are taken on.
        loss: ``loss(outputs, targets)``, a scalar.
    """

    def without(stage: str, blocks: list[int]) -> float:
        network = net.without_blocks({stage: blocks})
        with torch.no_grad():
            return sum(loss(call(network, inputs), targets).item() for inputs, targets in batches)

    orders = {}
    for stage in net.structure.stages:
        remaining = list(range(len(stage.blocks)))
        dropped: list[int] = []
        while len(remaining) > 1:
            losses = [without(stage.name, [*dropped, block]) for block in remaining]
            dropped.append(remaining.pop(losses.index(min(losses))))
        orders[stage.name] = (*remaining, *reversed(dropped))
    return orders
