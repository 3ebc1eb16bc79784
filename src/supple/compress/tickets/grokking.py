"""Grokking tickets (paper 85): the task, the network and the measure of its delay.

A small network that learns arithmetic modulo a prime knows its training pairs long before it
generalises. A ticket of the network that has generalised, at its initial weights, does so far
sooner; tickets are found with `LotteryTickets` or with `supple.compress.prune.find_masks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["GrokkingMLP", "ModularPairs", "grokking_step", "modular_pairs"]

Operation = Literal["add", "subtract", "quadratic"]


@dataclass(frozen=True, kw_only=True)
class ModularPairs:
    """Pairs of numbers below a prime, and the result of an operation.

    Attributes:
        modulus: The prime p.
        train_x: Pairs, shape (pairs, 2), int64.
        train_y: Results, int64.
        test_x: The other pairs.
        test_y: Their results.
    """

    modulus: int
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@implements(85)
def modular_pairs(
    modulus: int = 67, *, operation: Operation = "add", train: float = 0.4, seed: int = 0
) -> ModularPairs:
    """All pairs below ``modulus``, split at random.

    Args:
        modulus: Numbers are 0 to ``modulus - 1``.
        operation: ``add``: pairs with i <= j and (i + j) mod p. ``subtract``: all pairs and
            (i - j) mod p. ``quadratic``: i <= j and (i^2 + i j + j^2) mod p.
        train: Share of the pairs for training.
        seed: Of the split.

    Example:
        >>> from supple.compress.tickets import modular_pairs
        >>> data = modular_pairs(5, train=0.4)
        >>> len(data.train_x), len(data.test_x)
        (6, 9)
    """
    if modulus < 2 or not 0 < train < 1:
        raise CompressError(
            f"pairs modulo {modulus} were asked for, {train} of them for training.",
            hint="a modulus of 2 or more, and a share between 0 and 1",
        )
    i, j = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    pairs = torch.stack([i.flatten(), j.flatten()], 1)
    if operation != "subtract":
        pairs = pairs[pairs[:, 0] <= pairs[:, 1]]
    a, b = pairs[:, 0], pairs[:, 1]
    results = {
        "add": a + b, "subtract": a - b, "quadratic": a * a + a * b + b * b
    }  # fmt: skip
    if operation not in results:
        raise CompressError(
            f"there is no operation {operation!r}.", hint="'add', 'subtract' or 'quadratic'"
        )
    order = torch.randperm(len(pairs), generator=torch_generator(seed, "modular pairs"))
    cut = round(train * len(pairs))
    x, y = pairs[order], (results[operation] % modulus)[order]
    return ModularPairs(
        modulus=modulus, train_x=x[:cut], train_y=y[:cut], test_x=x[cut:], test_y=y[cut:]
    )


@implements(85)
class GrokkingMLP(nn.Module):
    """The network of the paper: embed both numbers, add, one hidden layer, no biases.

    ``unembed(out(relu(into(embed[i]) + into(embed[j]))))``, with weights drawn from a normal
    distribution of variance 1 / inputs, the embedding's 1 / modulus. The embedding is a matrix
    that masks can be put on, as in the paper.

    Args:
        modulus: Numbers that go in, and classes that come out.
        width: Size of the embedding.
        hidden: Units of the hidden layer.

    Example:
        >>> import torch
        >>> from supple.compress.tickets import GrokkingMLP
        >>> GrokkingMLP(modulus=7, width=16, hidden=4)(torch.tensor([[1, 2]])).shape
        torch.Size([1, 7])
    """

    def __init__(self, *, modulus: int = 67, width: int = 500, hidden: int = 48) -> None:
        super().__init__()
        self.modulus = modulus
        self.embed = nn.Parameter(torch.empty(modulus, width))
        self.into = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)
        self.unembed = nn.Linear(width, modulus, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights."""
        nn.init.normal_(self.embed, std=1 / math.sqrt(self.modulus))
        for layer in (self.into, self.out, self.unembed):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))

    def forward(self, pairs: Tensor) -> Tensor:
        """Scores of the results, of shape (pairs, modulus)."""
        both = self.into(self.embed[pairs[:, 0]]) + self.into(self.embed[pairs[:, 1]])
        scores: Tensor = self.unembed(self.out(both.relu()))
        return scores


@implements(85)
def grokking_step(accuracies: Sequence[tuple[int, float]], threshold: float = 0.95) -> float:
    """The first step at which the test accuracy reaches a threshold; infinity if it never does.

    Args:
        accuracies: ``(step, accuracy)`` in order.
        threshold: The accuracy that counts as having generalised.

    Example:
        >>> from supple.compress.tickets import grokking_step
        >>> grokking_step([(0, 0.1), (100, 0.4), (200, 0.97)])
        200.0
    """
    return next((float(step) for step, value in accuracies if value >= threshold), math.inf)
