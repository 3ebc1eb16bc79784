"""Movement: keep the weights that training moves away from zero (Sanh et al., 2005.07683)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss, gradients, unmasked_copy

__all__ = ["Movement"]


@dataclass(frozen=True, kw_only=True)
class Movement:
    """``-weight * gradient``, summed over batches: positive where descent makes a weight larger.

    The paper sums it over the steps of a fine-tuning; given the batches of one, this is that sum
    at the weights as they are.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> x, y = torch.randn(32, 8), torch.randint(3, (32,))
        >>> prune(nn.Linear(8, 3), 0.5, method="movement", data=[(x, y)]).report.density
        0.5
    """

    name: ClassVar[str] = "movement"
    needs_data: ClassVar[bool] = True
    rounds: ClassVar[int] = 1

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The movements."""
        with unmasked_copy(model, training=False) as twin:
            weights = prunable(twin)
            total = {name: torch.zeros_like(weights[name]) for name in names}
            for batch in batches:
                for name, gradient in gradients(twin, names, batch, loss).items():
                    total[name] -= (weights[name] * gradient).detach()
            return total
