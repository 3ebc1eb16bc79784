"""Importance by the diagonal of the Hessian, estimated with random probes.

Y. LeCun et al., "Optimal Brain Damage", 1989: removing weight w raises the loss by about
h w^2 / 2, h the second derivative. The diagonal is E[z * (H z)] over vectors z of random signs
(C. Bekas et al., "An estimator for the diagonal of a matrix", 2007; used for networks by Z. Yao et
al., "AdaHessian", 2020, 2006.00719); a product H z costs one more backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

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
from supple.elastic.importance._gradients import in_evaluation, loss_gradients, trained_weights
from supple.errors import TrainingError
from supple.seeds import torch_generator

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Hessian"]


@dataclass(frozen=True, kw_only=True)
class Hessian:
    """|sum of h w^2 / 2| over all that an index owns, h the diagonal of the Hessian of the loss.

    Away from a minimum h may be negative; the magnitude says how much the loss changes, up or
    down. Piecewise linear parts, such as ReLU, count as linear.

    Args:
        batches: ``(inputs, targets)`` pairs; h is the mean over them.
        loss: ``loss(outputs, targets)``, a scalar.
        probes: Random vectors for each batch. The estimate's variance falls as 1 / probes.
        seed: Of the random vectors.
        order_blocks: Whether blocks are ordered too, by the loss without them.
        block_batches: How many of the batches blocks are ordered with.
        normalise: How axes are made comparable.
    """

    name: ClassVar[str] = "hessian"

    batches: Iterable[tuple[Any, Any]]
    loss: Loss
    probes: int = 4
    seed: int = 0
    order_blocks: bool = True
    block_batches: int = 2
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, and the order of its blocks."""
        batches = calibration(self.batches)
        weights = trained_weights(net)
        diagonal = {n: torch.zeros_like(w, dtype=torch.float64) for n, w in weights.items()}
        draws = torch_generator(self.seed, "importance", "hessian")
        blocks: dict[str, tuple[int, ...]] = {}
        with in_evaluation(net):
            for batch in batches:
                self._add(net, weights, batch, diagonal, draws)
            if self.order_blocks:
                blocks = block_orders(net, batches[: self.block_batches], self.loss)
        count = len(batches) * self.probes
        saliency = {
            n: weights[n].detach().double() ** 2 * h / (2 * count) for n, h in diagonal.items()
        }
        changes = {name: change.abs() for name, change in add_groups(net, saliency).items()}
        return Scores(axes=normalised(changes, self.normalise), blocks=blocks)

    def _add(
        self,
        net: Elastic,
        weights: dict[str, Tensor],
        batch: tuple[Any, Any],
        diagonal: dict[str, Tensor],
        draws: torch.Generator,
    ) -> None:
        """Adds z * (H z) of every probe; fused attention has no second derivative."""
        with sdpa_kernel(SDPBackend.MATH):
            gradients = loss_gradients(net, weights, batch, self.loss, twice=True)
            curved = {n: g for n, g in gradients.items() if g.requires_grad}
            for _ in range(self.probes if curved else 0):
                signs = {n: _signs(g, draws) for n, g in curved.items()}
                for name, product in _products(weights, curved, signs).items():
                    diagonal[name] += signs[name].double() * product.double()


def _products(
    weights: dict[str, Tensor], gradients: dict[str, Tensor], signs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """H z, for the weights whose gradient varies."""
    names = list(gradients)
    try:
        products = torch.autograd.grad(
            list(gradients.values()), [weights[n] for n in names], list(signs.values()),
            retain_graph=True, allow_unused=True,
        )  # fmt: skip
    except (RuntimeError, NotImplementedError) as error:
        raise TrainingError(
            f"The Hessian cannot be estimated: {str(error).splitlines()[0]}",
            why="Some part of the network or of the loss has no second derivative in torch.",
            hint='importance "fisher" needs first derivatives only.',
        ) from error
    return {n: p for n, p in zip(names, products, strict=True) if p is not None}


def _signs(like: Tensor, draws: torch.Generator) -> Tensor:
    """Minus one or one, each with probability one half."""
    return (torch.randint(0, 2, like.shape, generator=draws) * 2 - 1).to(like)
