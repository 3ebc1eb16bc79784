"""Gradients of a loss with respect to the stored weights, and samples one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_size, call, has_batch
from supple.elastic.importance._base import Loss

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["in_evaluation", "loss_gradients", "samples_of", "trained_weights"]


@contextmanager
def in_evaluation(net: Elastic) -> Iterator[None]:
    """Inside, the network is in evaluation mode; afterwards it is as it was."""
    was_training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(was_training)


def trained_weights(net: Elastic) -> dict[str, Tensor]:
    """The parameters that gradients are taken for, by canonical name."""
    return {name: weight for name, weight in net.named_weights() if weight.requires_grad}


def loss_gradients(
    net: Elastic,
    weights: dict[str, Tensor],
    batch: tuple[Any, Any],
    loss: Loss,
    *,
    twice: bool = False,
) -> dict[str, Tensor]:
    """The gradient for every weight that the loss depends on.

    Args:
        net: The network.
        weights: By name, what to take gradients for.
        batch: ``(inputs, targets)``.
        loss: ``loss(outputs, targets)``, a scalar.
        twice: Whether the gradients are to be differentiated again.
    """
    inputs, targets = batch
    with torch.enable_grad():
        value = loss(call(net, inputs), targets)
        gradients: Sequence[Tensor | None] = torch.autograd.grad(
            value, list(weights.values()), allow_unused=True, create_graph=twice
        )
    return {n: g for n, g in zip(weights, gradients, strict=True) if g is not None}


def samples_of(batches: Iterable[tuple[Any, Any]], most: int) -> Iterator[tuple[Any, Any]]:
    """The first ``most`` samples of the batches, each a batch of one."""
    taken = 0
    for inputs, targets in batches:
        size = batch_size(inputs)
        for row in range(min(size, most - taken)):
            yield _row(inputs, row, size), _row(targets, row, size)
        taken += min(size, most - taken)


def _row(tree: Any, row: int, size: int) -> Any:
    def one(leaf: Any) -> Any:
        is_batch = isinstance(leaf, Tensor) and has_batch(leaf, size)
        return leaf[row : row + 1] if is_batch else leaf

    return pytree.tree_map(one, tree)
