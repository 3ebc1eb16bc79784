"""SynFlow: prune without data and without cutting the network in two (2006.05467)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss, gradients_along, unmasked_copy
from supple.elastic._call import call, tensors_in
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["SynFlow"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class SynFlow:
    """Synaptic flow: ``weight * d R / d weight``, R being the sum of outputs for an input of ones.

    All parameters and statistics are replaced by their absolute values for it, in float64, and the
    network is in evaluation mode. The masks are found in many small steps, along an exponential
    schedule, which is what keeps every layer connected.

    Attributes:
        rounds: Number of steps.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> prune(model, 0.75, method="synflow", example=torch.ones(1, 8)).report.kept
        44
    """

    name: ClassVar[str] = "synflow"
    needs_data: ClassVar[bool] = False

    rounds: int = 100

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The flows; only the shape of the first batch's inputs is used."""
        if not batches:
            raise CompressError(
                "SynFlow got no example.",
                why="It sends an input of ones through the network, whose shape it must know.",
                hint="example=x, or data=[(inputs, targets)]",
            )
        with unmasked_copy(model, training=False) as twin:
            twin.double()
            with torch.no_grad():
                for tensor in [*twin.parameters(), *twin.buffers()]:
                    if tensor.is_floating_point():
                        tensor.abs_()
            weights = prunable(twin)
            outputs = call(twin, _ones_like(batches[0][0]))
            total = torch.stack([tensor.sum() for tensor in tensors_in((outputs,))]).sum()
            along = gradients_along(total, weights, names)
            return {name: (weights[name] * along[name]).detach() for name in names}


def _ones_like(inputs: Any) -> Any:
    def one(leaf: Any) -> Any:
        is_real = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return torch.ones_like(leaf[:1], dtype=torch.float64) if is_real else leaf

    return pytree.tree_map(one, inputs)
