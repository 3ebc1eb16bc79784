"""What both neural bandits share: an online regressor with a random linear perturbation.

The prediction of the network carries c m^(-1/4) <theta - theta_0, e> for random signs e, which
makes the loss strongly convex along the way and the regret of the regression logarithmic.
Deb et al. 2024, "Contextual Bandits with Online Neural Regression" (catalogue 71).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError
from supple.search._evolution import Evolution
from supple.search._history import History
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._unseen import fresh_rows, random_unseen
from supple.search._variation import Variation
from supple.seeds import generator
from supple.study import dominance_ranks

__all__ = ["NeuralBandit", "PerturbedNetwork"]

Array = NDArray[np.float64]
Genes = NDArray[np.int64]


class PerturbedNetwork:
    """f(x) = a · relu(W x) / sqrt(m) from 0 at the start, with perturbed copies of itself.

    Half of the units are the negative of the other half at the start, so that f is 0 there.

    Args:
        features: Number of inputs.
        width: m, the number of hidden units; even.
        perturbation: c, the size of the perturbation; 0 for none.
        copies: How many perturbations are averaged over.
        loss: ``square`` for (f - y)²/2, ``kl`` for the cross-entropy of sigmoid(f).
        rng: Where weights and signs come from.
    """

    def __init__(
        self,
        features: int,
        *,
        width: int,
        perturbation: float,
        copies: int,
        loss: Literal["square", "kl"],
        rng: np.random.Generator,
    ) -> None:
        half = rng.standard_normal((width // 2, features)) * (2.0 / features) ** 0.5
        signs = rng.choice([-1.0, 1.0], size=width // 2)
        inner = np.vstack([half, half])
        outer = np.concatenate([signs, -signs])
        self.shape, self.width = inner.shape, width
        self.theta = np.concatenate([inner.ravel(), outer])
        self.first = self.theta.copy()
        self.loss = loss
        self.size = perturbation * width**-0.25
        self.signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(copies, len(self.theta)))

    def _parts(self, theta: Array) -> tuple[Array, Array]:
        count = self.shape[0] * self.shape[1]
        return theta[:count].reshape(self.shape), theta[count:]

    def scores(self, contexts: Array) -> Array:
        """Perturbed outputs averaged over the copies, before any sigmoid."""
        inner, outer = self._parts(self.theta)
        found: Array = np.maximum(contexts @ inner.T, 0.0) @ outer / self.width**0.5
        moved = self.theta - self.first
        found += self.size * float(np.mean(self.signs @ moved))
        return found

    def predict(self, contexts: Array) -> Array:
        """Predicted losses, from 0 to 1."""
        scores = self.scores(contexts)
        if self.loss == "kl":
            return _sigmoid(scores)
        clipped: Array = np.clip(scores + 0.5, 0.0, 1.0)
        return clipped

    def gradient(self, context: Array, target: float) -> Array:
        """The slope of the loss, averaged over the copies, at one context."""
        inner, outer = self._parts(self.theta)
        hidden = inner @ context
        plain = (
            np.concatenate(
                [
                    np.outer(outer * (hidden > 0), context).ravel(),
                    np.maximum(hidden, 0.0),
                ]
            )
            / self.width**0.5
        )
        base = float(np.maximum(hidden, 0.0) @ outer) / self.width**0.5
        scores = base + self.size * (self.signs @ (self.theta - self.first))
        guess = _sigmoid(scores) if self.loss == "kl" else scores
        error = guess - (target if self.loss == "kl" else target - 0.5)
        found: Array = error.mean() * plain + self.size * (error @ self.signs) / len(error)
        return found

    def update(self, context: Array, target: float, rate: float, radius: float) -> None:
        """One projected gradient step: the weights stay within a ball around the first ones."""
        moved = self.theta - rate * self.gradient(context, target) - self.first
        length = float(np.linalg.norm(moved))
        self.theta = self.first + (moved if length <= radius else moved * (radius / length))


@dataclass(eq=False)
class NeuralBandit(Strategy):
    """Base of the neural bandits: arms are random configs and children of the best ones.

    The loss of a config is the share of the measured ones that are better: by rank of dominance,
    so it is one number from 0 to 1 however many objectives there are.
    """

    population: int = 10
    arms: int = 200
    gamma: float = 200.0
    width: int = 64
    perturbation: float = 0.01
    copies: int = 8
    learning_rate: float = 0.3
    radius: float = 20.0

    regression: Literal["square", "kl"] = "square"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arms < 2 or self.gamma < 0 or self.width < 2 or self.width % 2 or self.copies < 1:
            raise SearchError(
                f"a bandit of {self.arms} arms with gamma {self.gamma}, {self.width} units and "
                f"{self.copies} perturbations cannot run.",
                why="It needs two arms, a gamma of at least 0 and an even number of units.",
                hint="arms=200, gamma=200.0, width=64, copies=8.",
            )

    @abc.abstractmethod
    def chances(self, predicted: Array) -> Array:
        """The chance of each arm from its predicted loss."""

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Arms drawn one after the other by their chances."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        arms = self._arms(past, rng)
        predicted = self._fitted(past).predict(self._contexts(arms))
        left = np.arange(len(arms))
        taken = []
        for _ in range(min(count, len(arms))):
            chances = self.chances(predicted[left])
            pick = int(rng.choice(len(left), p=chances / chances.sum()))
            taken.append(left[pick])
            left = np.delete(left, pick)
        return arms[taken]

    def _arms(self, past: History, rng: np.random.Generator) -> Genes:
        drawn = random_unseen(self.space, self.arms // 2, past.seen, rng)
        best = best_rows(past.losses, min(50, len(past.losses)))
        variation = Variation(
            self.space, crossover=0.9, eta_crossover=15.0, mutation=None, eta_mutation=20.0
        )
        evolution = Evolution(variation)
        rows = evolution.offspring(past.genes[best], past.losses[best], self.arms, rng)
        known = past.seen | {row.tobytes() for row in drawn}
        return np.vstack([drawn, fresh_rows(rows, known)[: self.arms - len(drawn)]])

    def _contexts(self, rows: Genes) -> Array:
        """One-hot features and a constant, of length about 1."""
        features = self.space.encode_indices(rows)
        constant = np.ones((len(rows), 1))
        return np.hstack([features / max(len(self.space), 1) ** 0.5, constant])

    def _fitted(self, past: History) -> PerturbedNetwork:
        """The network after one pass over the trials in their order: it learns online."""
        contexts = self._contexts(past.genes)
        ranks = dominance_ranks(past.losses)
        targets = np.array([np.mean(ranks < rank) for rank in ranks])
        network = PerturbedNetwork(
            contexts.shape[1],
            width=self.width,
            perturbation=self.perturbation,
            copies=self.copies,
            loss=self.regression,
            rng=generator(self.seed, "search", self.name, "network"),
        )
        for number, (context, target) in enumerate(zip(contexts, targets, strict=True), start=1):
            network.update(context, float(target), self.learning_rate / number**0.25, self.radius)
        return network


def _sigmoid(scores: Array) -> Array:
    found: Array = 1.0 / (1.0 + np.exp(-np.clip(scores, -30, 30)))
    return found
