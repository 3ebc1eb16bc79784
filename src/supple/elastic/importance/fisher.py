"""Importance by the empirical Fisher information, which stands for the Hessian's diagonal.

Y. LeCun et al., "Optimal Brain Damage", 1989: removing weight w raises the loss by about
h w^2 / 2, h the second derivative. Here h is the mean of the squared gradient over single samples
(L. Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018,
1801.05787). It equals the Hessian only for a log-likelihood at its optimum and is never negative.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from supple.elastic.importance._base import (
    Loss,
    Normalise,
    Scores,
    add_groups,
    calibration,
    check_normalise,
    normalised,
)
from supple.elastic.importance._blocks import block_orders
from supple.elastic.importance._gradients import (
    in_evaluation,
    loss_gradients,
    samples_of,
    trained_weights,
)

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Fisher"]


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """Sum of w^2 E[g^2] / 2 over all that an index owns, g the loss gradient of one sample.

    A network with a fixed batch cannot be called with one sample; its batches count as samples.

    Args:
        batches: ``(inputs, targets)`` pairs.
        loss: ``loss(outputs, targets)``, a scalar; the mean over the batch, as usual.
        samples: How many samples of the batches are used; each takes a backward pass.
        order_blocks: Whether blocks are ordered too, by the loss without them.
        block_batches: How many of the batches blocks are ordered with.
        normalise: How axes are made comparable.
    """

    name: ClassVar[str] = "fisher"

    batches: Iterable[tuple[Any, Any]]
    loss: Loss
    samples: int = 128
    order_blocks: bool = True
    block_batches: int = 2
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, and the order of its blocks."""
        batches = calibration(self.batches)
        weights = trained_weights(net)
        squares = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in weights.items()}
        blocks: dict[str, tuple[int, ...]] = {}
        count = 0
        with in_evaluation(net):
            singles = samples_of(batches, self.samples) if net.batch_size is None else batches
            for one in singles:
                count += 1
                for name, gradient in loss_gradients(net, weights, one, self.loss).items():
                    squares[name] += gradient.double() ** 2
            if self.order_blocks:
                blocks = block_orders(net, batches[: self.block_batches], self.loss)
        saliency = {
            n: weights[n].detach().double() ** 2 * s / (2 * count) for n, s in squares.items()
        }
        return Scores(axes=normalised(add_groups(net, saliency), self.normalise), blocks=blocks)
