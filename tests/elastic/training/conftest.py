"""A small elastic network written by hand, so that rules and loop are tested on their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.elastic.training import Batches
from supple.space import Space, Width


class ElasticMLP(nn.Module):
    """Two hidden layers whose widths are prefixes of the full ones."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(4, 12)
            self.second = nn.Linear(12, 8)
            self.head = nn.Linear(8, 3)
        self.dropout = dropout
        self.space = Space(
            {
                "first": Width(options=(3, 6, 12), size=12),
                "second": Width(options=(2, 4, 8), size=8),
            }
        )
        self.sampled: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        return self._run(12, 8, x)

    def at(self, config: Any) -> Callable[[Tensor], Tensor]:
        self.sampled.append(config)
        return partial(self._run, config["first"], config["second"])

    def _run(self, first: int, second: int, x: Tensor) -> Tensor:
        x = F.relu(F.linear(x, self.first.weight[:first], self.first.bias[:first]))
        x = F.dropout(x, self.dropout, self.training)
        x = F.relu(F.linear(x, self.second.weight[:second, :first], self.second.bias[:second]))
        return F.linear(x, self.head.weight[:, :second], self.head.bias)


def make_batch(seed: int = 0, size: int = 16) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=draws)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()


@pytest.fixture
def mlp() -> ElasticMLP:
    return ElasticMLP()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return make_batch()


@pytest.fixture
def data() -> Batches:
    return Batches(*make_batch(size=40), batch_size=8, seed=3)
