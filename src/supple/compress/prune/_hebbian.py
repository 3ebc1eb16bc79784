"""Correlation of the two ends of every connection, over a batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic._call import call, evaluating
from supple.errors import CompressError

__all__ = ["correlation", "correlations"]


def correlations(net: nn.Module, inputs: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """For each named weight, the correlation of what enters and what leaves each connection.

    What leaves is the layer's output, before any activation function that follows.

    Args:
        net: The network; it is not changed.
        inputs: A batch of inputs.
        names: Weights of ``nn.Linear`` layers.

    Raises:
        CompressError: A weight is of another kind of layer.
    """
    twin = copy.deepcopy(net)
    found: dict[str, Tensor] = {}
    for name in names:
        layer = twin.get_submodule(name.rpartition(".")[0])
        if not isinstance(layer, nn.Linear):
            raise CompressError(
                f"a Hebbian rule was asked of '{name}', which is of a {type(layer).__name__}.",
                why="It correlates the two units that a connection joins.",
                hint="protect it, or drop='magnitude' with grow='gradient'",
            )

        def note(layer: nn.Module, args: Any, output: Tensor, name: str = name) -> None:
            found[name] = correlation(args[0].flatten(0, -2), output.flatten(0, -2))

        layer.register_forward_hook(note)
    with evaluating(twin):
        call(twin, inputs)
    return found


def correlation(pre: Tensor, post: Tensor) -> Tensor:
    """Pearson's correlation of every column of ``post`` with every column of ``pre``.

    Args:
        pre: Shape (samples, inputs).
        post: Shape (samples, outputs).

    Returns:
        Shape (outputs, inputs); 0 where one of the two never changes.
    """
    a = pre.double() - pre.double().mean(0)
    b = post.double() - post.double().mean(0)
    scale = torch.outer(b.square().sum(0).sqrt(), a.square().sum(0).sqrt())
    product = b.T @ a
    return torch.where(scale > 1e-12, product / scale.clamp_min(1e-12), torch.zeros_like(product))
