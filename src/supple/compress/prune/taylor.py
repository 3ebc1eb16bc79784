"""Taylor: the first-order change of the loss without a weight (Molchanov et al., 1906.10771)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss, gradients, unmasked_copy

__all__ = ["Taylor"]


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """``(weight * gradient) ** 2``, averaged over batches, in evaluation mode.

    For a trained network; before training `SNIP` is the same idea.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> x, y = torch.randn(32, 8), torch.randint(3, (32,))
        >>> prune(nn.Linear(8, 3), 0.25, method="taylor", data=[(x, y)]).report.density
        0.75
    """

    name: ClassVar[str] = "taylor"
    needs_data: ClassVar[bool] = True
    rounds: ClassVar[int] = 1

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The squared changes."""
        with unmasked_copy(model, training=False) as twin:
            weights = prunable(twin)
            total = {name: torch.zeros_like(weights[name]) for name in names}
            for batch in batches:
                for name, gradient in gradients(twin, names, batch, loss).items():
                    total[name] += (weights[name] * gradient).detach() ** 2 / len(batches)
            return total
