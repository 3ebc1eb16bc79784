"""SNIP: how much the loss would change without a connection, before training (1810.02340)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss, gradients, unmasked_copy
from supple.papers import implements

__all__ = ["SNIP"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class SNIP:
    """``|weight * gradient|``, the gradients summed over the batches first.

    The network is in training mode for it, so that batch norms use the batch.

    Attributes:
        rounds: More than 1 finds the masks step by step, with scores computed anew each time.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> x, y = torch.randn(32, 8), torch.randint(3, (32,))
        >>> prune(nn.Linear(8, 3), 0.5, method="snip", data=[(x, y)]).report.density
        0.5
    """

    name: ClassVar[str] = "snip"
    needs_data: ClassVar[bool] = True

    rounds: int = 1

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The sensitivities."""
        with unmasked_copy(model, training=True) as twin:
            weights = prunable(twin)
            total = {name: torch.zeros_like(weights[name]) for name in names}
            for batch in batches:
                for name, gradient in gradients(twin, names, batch, loss).items():
                    total[name] += gradient
            return {name: (weights[name] * total[name]).abs().detach() for name in names}
