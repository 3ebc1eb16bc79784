"""Small networks in float64 whose importances can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity

Loss = Callable[[Any, Any], Tensor]


class Problem:
    """A perceptron of one hidden layer, four batches of data and their loss."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
            inputs = torch.randn(4, 5, 3).double()
            targets = torch.randint(0, 2, (4, 5))
        self.batches = list(zip(inputs, targets, strict=True))
        self.loss: Loss = F.cross_entropy
        self.net = Elastic(self.model, (inputs[0],), Elasticity(multiple_of=1))

    @property
    def parts(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """What each hidden unit owns: for each tensor how it is turned to (unit, others)."""
        return {
            "0.weight": lambda w: w,
            "0.bias": lambda w: w[:, None],
            "2.weight": lambda w: w.T,
        }

    def owned(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name as (unit, others)."""
        return {name: turn(tensors[name]) for name, turn in self.parts.items()}


@pytest.fixture
def problem() -> Problem:
    return Problem()
