"""Random: the baseline that every other score has to beat (papers 86 and 116)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import prunable
from supple.compress.prune._pruner import Batch, Loss
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["Random"]


@implements(86)
@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform random numbers, by seed and name of the weight.

    Attributes:
        seed: Of the draws.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> prune(nn.Linear(10, 10), 0.9, method="random", seed=1).report.kept
        10
    """

    name: ClassVar[str] = "random"
    needs_data: ClassVar[bool] = False
    rounds: ClassVar[int] = 1

    seed: int = 0

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """The draws."""
        weights = prunable(model)
        found = {}
        for name in names:
            draws = torch_generator(self.seed, "random pruning", name)
            score = torch.rand(weights[name].shape, generator=draws, dtype=torch.float64)
            found[name] = score.to(weights[name].device)
        return found
