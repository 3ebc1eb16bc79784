"""OP-GFlowNet: a sampler that learns from the order of configs, not from a reward.

A policy fills in the choices one after the other. Its probabilities imply a reward for each
config, and they are trained so that among any batch of measured configs the reward is spread
evenly over those that no other dominates: no weights between objectives, no scale. Chen and
Mauch 2024, "Order-Preserving GFlowNets" (catalogue 94), in its trajectory balance form with a
uniform backward policy.

The policy is trained anew from all that was measured before each batch, so that it follows from
the stored trials alone; batches for training are half from the front and half from all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError
from supple.papers import implements
from supple.search._history import History
from supple.search._strategy import Strategy
from supple.search._unseen import random_unseen, unseen_from
from supple.study import non_dominated

if TYPE_CHECKING:
    from supple.search._flow_policy import FlowPolicy

__all__ = ["OPGFlowNet"]

Genes = NDArray[np.int64]


@implements(94)
@dataclass(eq=False)
class OPGFlowNet(Strategy):
    """Samples configs from a policy trained on who dominates whom.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Configs per round (the paper: 64 at first, then 10).
        start: Configs to propose first.
        steps: Steps of training before each round (the paper: 200).
        batch_size: Measured configs per step.
        hidden: Width of the policy's two hidden layers.
        learning_rate: Of Adam, for the policy.
        explore: Chance of each action to be random.

    Example:
        >>> from supple.search import OPGFlowNet
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> flow = OPGFlowNet(space=space, population=3, steps=10)
        >>> study.run(evaluate, flow, evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "op_gflownet"

    steps: int = 200
    batch_size: int = 32
    hidden: int = 64
    learning_rate: float = 3e-3
    explore: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.batch_size < 2 or self.hidden < 1:
            raise SearchError(
                f"{self.steps} steps on batches of {self.batch_size} with {self.hidden} hidden "
                "units cannot train a policy.",
                hint="steps=200, batch_size=32, hidden=64.",
            )

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Unseen configs from the trained policy."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        policy = self._trained(past, rng)

        def drawn() -> Genes:
            return self.space.canonical_indices(policy.sample(2 * count, rng, self.explore))

        return unseen_from(drawn, past.seen, count)[:count]

    def _trained(self, past: History, rng: np.random.Generator) -> FlowPolicy:
        # Loads torch, which the other strategies do without.
        import torch

        from supple.search._flow_policy import FlowPolicy, order_preserving_loss

        counts = [len(choice.options) for choice in self.space.values()]
        policy = FlowPolicy(counts, hidden=self.hidden, seed=int(rng.integers(2**31)))
        adam = torch.optim.Adam(policy.parameters, lr=self.learning_rate)
        front = np.flatnonzero(non_dominated(past.losses))
        for _ in range(self.steps):
            rows = self._rows(len(past.genes), front, rng)
            genes = past.genes[rows]
            orders = rng.permuted(np.tile(np.arange(genes.shape[1]), (len(rows), 1)), axis=1)
            is_best = torch.from_numpy(non_dominated(past.losses[rows]))
            loss = order_preserving_loss(policy.log_rewards(genes, orders), is_best)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        return policy

    def _rows(
        self, total: int, front: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Different rows for one step: at most half of them from the front."""
        size = min(self.batch_size, total)
        best = rng.permutation(front)[: max(size // 2, 1)]
        others = np.setdiff1d(np.arange(total), best)
        return np.concatenate([best, rng.permutation(others)[: size - len(best)]])
