"""Magnitude: a weight matters as much as it is large (Han et al., 1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss

__all__ = ["Magnitude"]


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """The absolute value of the weight as it is stored.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> small = prune(nn.Linear(8, 4), 0.5, method="magnitude").network
        >>> int((small.weight == 0).sum())
        16
    """

    name: ClassVar[str] = "magnitude"
    needs_data: ClassVar[bool] = False
    rounds: ClassVar[int] = 1

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The absolute values."""
        weights = prunable(model)
        return {name: weights[name].detach().abs() for name in names}
