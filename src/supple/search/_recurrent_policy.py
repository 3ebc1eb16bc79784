"""A recurrent policy that walks over the choices of a config and picks an option of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RecurrentPolicy"]

Genes = NDArray[np.int64]


class RecurrentPolicy:
    """An LSTM cell: the option taken last goes in, scores for the options of the next come out.

    Float64; all randomness comes from the seed and from generators passed in.

    Args:
        counts: How many options each choice has.
        hidden: Size of the cell (N2N: 30).
        seed: Seed of the first weights.
    """

    def __init__(self, counts: Sequence[int], *, hidden: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.counts, self.hidden = list(counts), hidden

        def made(*shape: int, scale: float) -> Tensor:
            drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return (drawn * scale).requires_grad_()

        # A token per option of each choice, and one to begin with.
        self.starts = np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)
        self.tokens = made(int(self.starts[-1]) + 1, hidden, scale=0.3)
        self.from_input = made(4 * hidden, hidden, scale=hidden**-0.5)
        self.from_state = made(4 * hidden, hidden, scale=hidden**-0.5)
        self.bias = made(4 * hidden, scale=0.0)
        self.heads = [made(count, hidden, scale=0.01) for count in self.counts]
        self.offsets = [made(count, scale=0.0) for count in self.counts]

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that is trained."""
        cell = [self.tokens, self.from_input, self.from_state, self.bias]
        return [*cell, *self.heads, *self.offsets]

    def _step(self, token: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, memory = state
        gates = self.tokens[token] @ self.from_input.T + hidden @ self.from_state.T + self.bias
        inward, forget, new, outward = gates.chunk(4, dim=1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(inward) * torch.tanh(new)
        return torch.sigmoid(outward) * torch.tanh(memory), memory

    def _walk(self, count: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        zero = torch.zeros(count, self.hidden, dtype=torch.float64)
        return torch.full((count,), int(self.starts[-1])), (zero, zero)

    def log_probabilities(self, genes: Genes) -> Tensor:
        """Log of the chance of each config, shape (B,)."""
        token, state = self._walk(len(genes))
        total = torch.zeros(len(genes), dtype=torch.float64)
        for place, (head, offset) in enumerate(zip(self.heads, self.offsets, strict=True)):
            state = self._step(token, state)
            taken = torch.from_numpy(genes[:, place])
            scores = torch.log_softmax(state[0] @ head.T + offset, dim=1)
            total = total + scores.gather(1, taken[:, None])[:, 0]
            token = taken + int(self.starts[place])
        return total

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator) -> Genes:
        """Configs drawn from the policy, shape (count, number of choices)."""
        token, state = self._walk(count)
        columns = []
        for place, (head, offset) in enumerate(zip(self.heads, self.offsets, strict=True)):
            state = self._step(token, state)
            edges = torch.softmax(state[0] @ head.T + offset, dim=1).cumsum(dim=1).numpy()
            picks = (edges < rng.random((count, 1)) * edges[:, -1:]).sum(axis=1)
            columns.append(np.minimum(picks, self.counts[place] - 1))
            token = torch.from_numpy(columns[-1] + int(self.starts[place]))
        return np.stack(columns, axis=1).astype(np.int64)
