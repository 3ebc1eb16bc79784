"""A policy that fills in the choices of a config one after the other, in any order.

What is assigned so far goes in as one-hot columns; out comes a score for each option of each
open choice. Small networks in float64, with randomness from generators only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["FlowPolicy", "order_preserving_loss"]

Genes = NDArray[np.int64]


def order_preserving_loss(log_rewards: Tensor, is_best: Tensor) -> Tensor:
    """Cross-entropy between "evenly one of the best" and what the learned rewards say.

    Args:
        log_rewards: The learned logarithm of the reward of each config of a batch, shape (B,).
        is_best: Which of them no other one of the batch dominates, shape (B,).

    Example:
        >>> import torch
        >>> loss = order_preserving_loss(torch.zeros(4), torch.tensor([True, False, False, False]))
        >>> round(loss.item(), 4)  # log 4
        1.3863
    """
    return -torch.log_softmax(log_rewards, dim=0)[is_best].mean()


class FlowPolicy:
    """The forward policy, and the logarithm of the reward that it implies.

    The backward policy is uniform: any assigned choice may be the last one. A config of K choices
    then has log R = log Z + sum log P_F + log K!, along any order of its choices.

    Args:
        counts: How many options each choice has.
        hidden: Width of the two hidden layers.
        seed: Seed of the first weights.
    """

    def __init__(self, counts: Sequence[int], *, hidden: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.counts = list(counts)
        self.width = sum(self.counts)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self.slot = torch.repeat_interleave(
            torch.arange(len(self.counts)), torch.tensor(self.counts)
        )
        sizes = [self.width, hidden, hidden, self.width]
        self.parameters: list[Tensor] = []
        for layer, (inner, outer) in enumerate(pairwise(sizes)):
            weight = torch.randn(outer, inner, generator=generator, dtype=torch.float64)
            # The last layer is small, so that the first policy is nearly even.
            scale = 0.01 if layer == 2 else (2.0 / inner) ** 0.5
            self.parameters.append((weight * scale).requires_grad_())
            self.parameters.append(torch.zeros(outer, dtype=torch.float64).requires_grad_())
        self.log_z = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Log P_F of every (choice, option) in each state; -inf where the choice is assigned."""
        w1, b1, w2, b2, w3, b3 = self.parameters
        inner = torch.nn.functional.leaky_relu(states @ w1.T + b1)
        inner = torch.nn.functional.leaky_relu(inner @ w2.T + b2)
        scores = inner @ w3.T + b3
        assigned = torch.zeros(*states.shape[:-1], len(self.counts), dtype=states.dtype)
        assigned.index_add_(-1, self.slot, states)
        is_open = assigned.index_select(-1, self.slot) == 0
        return torch.log_softmax(scores.masked_fill(~is_open, -torch.inf), dim=-1)

    def log_rewards(self, genes: Genes, orders: Genes) -> Tensor:
        """The learned log reward of each config, along one order of its choices each.

        Args:
            genes: Configs, shape (B, K).
            orders: A permutation of the choices for each, shape (B, K).
        """
        batch, count = genes.shape
        actions = torch.from_numpy(np.take_along_axis(self.starts + genes, orders, axis=1))
        taken = torch.nn.functional.one_hot(actions, self.width).to(torch.float64)
        states = torch.cumsum(taken, dim=1) - taken  # before each action
        steps = self.log_probabilities(states).gather(2, actions[..., None])[..., 0]
        assert steps.shape == (batch, count)
        return self.log_z + steps.sum(dim=1) + float(np.log(np.arange(1, count + 1)).sum())

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator, explore: float) -> Genes:
        """Configs drawn from the policy, shape (count, K).

        Args:
            count: How many.
            rng: Where the randomness comes from.
            explore: Chance of each action to be any that is open.
        """
        states = torch.zeros(count, self.width, dtype=torch.float64)
        genes = np.zeros((count, len(self.counts)), dtype=np.int64)
        slots = self.slot.numpy()
        for _ in self.counts:
            chances = self.log_probabilities(states).exp().numpy()
            is_open = chances > 0
            mixed = (1 - explore) * chances + explore * is_open / is_open.sum(1, keepdims=True)
            edges = np.cumsum(mixed, axis=1)
            picks = (edges < rng.random((count, 1)) * edges[:, -1:]).sum(axis=1)
            picks = np.minimum(picks, self.width - 1)
            slot = slots[picks]
            genes[np.arange(count), slot] = picks - self.starts[slot]
            states[torch.arange(count), torch.from_numpy(picks)] = 1.0
        return genes
