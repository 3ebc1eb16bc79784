"""REINFORCE: a recurrent policy picks the options, and is paid for quality times compression.

After each batch the policy takes a step up the gradient of (reward - running mean of rewards) *
log probability. Williams 1992; the policy and the reward are those of Ashok et al. 2018, "N2N
Learning: Network to Network Compression via Policy Gradient Reinforcement Learning" (catalogue
21), the choices of a space in place of layers and their attributes.

The reward of a config is the product, over the objectives, of value / best value seen for each one
that is maximised, and C (2 - C) with C = 1 - value / largest value seen for each one that is
minimised. N2N compares with the teacher; here the best and the largest so far stand for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supple.errors import SearchError
from supple.papers import implements
from supple.search._history import History
from supple.search._strategy import Strategy
from supple.search._unseen import random_unseen, unseen_from
from supple.seeds import derived_seed

if TYPE_CHECKING:
    from supple.search._recurrent_policy import RecurrentPolicy

__all__ = ["Reinforce", "compression_reward"]

Genes = NDArray[np.int64]


@implements(21)
def compression_reward(quality: ArrayLike, cost: ArrayLike) -> NDArray[np.float64]:
    """N2N's reward: quality times C (2 - C), where C is the fraction that was saved.

    Args:
        quality: Accuracy as a fraction of the teacher's.
        cost: Parameters, or another cost, as a fraction of the teacher's.

    Example:
        >>> float(compression_reward(1.0, 0.5))
        0.75
    """
    saved = 1.0 - np.asarray(cost, dtype=np.float64)
    found: NDArray[np.float64] = np.asarray(quality, dtype=np.float64) * saved * (2.0 - saved)
    return found


@implements(21)
@dataclass(eq=False)
class Reinforce(Strategy):
    """Samples configs from a policy trained by policy gradient.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Rollouts per step (N2N: 5).
        start: Configs to propose first.
        hidden: Size of the policy's LSTM cell.
        learning_rate: Of Adam.
        memory: How much of the running mean of rewards is kept from step to step.

    Example:
        >>> from supple.search import Reinforce
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, Reinforce(space=space, population=2), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "reinforce"

    population: int = 10
    hidden: int = 30
    learning_rate: float = 0.02
    memory: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 1 or self.learning_rate <= 0 or not 0 <= self.memory < 1:
            raise SearchError(
                f"a policy of {self.hidden} units with a learning rate of {self.learning_rate} "
                f"and a memory of {self.memory} cannot be trained.",
                hint="hidden=30, learning_rate=0.02, memory=0.8.",
            )

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Unseen configs from the policy, which is led through all batches so far."""
        if not len(past.genes):
            return random_unseen(self.space, count, past.seen, rng)
        policy = self._trained(past)

        def drawn() -> Genes:
            return self.space.canonical_indices(policy.sample(2 * count, rng))

        return unseen_from(drawn, past.seen, count)[:count]

    def _trained(self, past: History) -> RecurrentPolicy:
        # Loads torch, which the other strategies do without.
        import torch

        from supple.search._recurrent_policy import RecurrentPolicy

        counts = [len(choice.options) for choice in self.space.values()]
        seed = derived_seed(self.seed, "search", "reinforce", "policy")
        policy = RecurrentPolicy(counts, hidden=self.hidden, seed=seed)
        adam = torch.optim.Adam(policy.parameters, lr=self.learning_rate)
        rewards = _rewards(past)
        baseline = float(rewards[: self.population].mean())
        for first in range(0, len(rewards), self.population):
            rows = slice(first, first + self.population)
            paid = torch.from_numpy(rewards[rows] - baseline)
            loss = -(paid * policy.log_probabilities(past.genes[rows])).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            mean = float(rewards[rows].mean())
            baseline = self.memory * baseline + (1 - self.memory) * mean
        return policy


def _rewards(past: History) -> NDArray[np.float64]:
    """The reward of each measured config, from 0 to 1, divided by its spread."""
    reward = np.ones(len(past.losses))
    for losses, is_maximised in zip(past.losses.T, past.maximised, strict=True):
        if is_maximised:
            values = -losses
            low, best = min(float(values.min()), 0.0), float(values.max())
            reward *= (values - low) / (best - low) if best > low else 1.0
        else:
            low = min(float(losses.min()), 0.0)
            largest = float(losses.max()) - low
            cost = (losses - low) / largest if largest > 0 else np.zeros(len(losses))
            reward *= compression_reward(1.0, cost)
    spread = float(reward.std())
    return reward / spread if spread > 0 else reward
