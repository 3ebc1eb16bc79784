"""NeuFastCB: a neural bandit that explores less where the best arm is good, with a KL loss.

With b the smallest predicted loss, an arm of predicted loss y is drawn with chance
b / (K b + gamma (y - b)), the best one with what is left: where b is near 0, hardly anything else
is tried. The regressor is a network with a random linear perturbation that learns online. Deb et
al. 2024, "Contextual Bandits with Online Neural Regression" (catalogue 71).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supple.papers import implements
from supple.search._neural_bandit import NeuralBandit

__all__ = ["NeuFastCB", "fast_chances"]

# Predicted losses count as at least this, so that no chance is 0 / 0.
SMALLEST = 1e-6


@implements(71)
def fast_chances(predicted: ArrayLike, gamma: float) -> NDArray[np.float64]:
    """The chance of each arm.

    Args:
        predicted: The predicted loss of each arm, from 0 to 1.
        gamma: How much a gap counts: 0 draws evenly, infinity takes the best.

    Example:
        >>> fast_chances([0.25, 0.75], gamma=1.0).tolist()
        [0.75, 0.25]
    """
    losses = np.clip(np.asarray(predicted, dtype=np.float64), SMALLEST, None)
    best = int(np.argmin(losses))
    least = losses[best]
    found = least / (len(losses) * least + gamma * (losses - least))
    found[best] = 0.0
    found[best] = 1.0 - found.sum()
    chances: NDArray[np.float64] = found
    return chances


@implements(71)
@dataclass(eq=False)
class NeuFastCB(NeuralBandit):
    """Draws configs by gaps relative to the best of predicted losses.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Configs drawn from the same knowledge.
        start: Configs to propose first.
        arms: Configs to choose from: half random, half children of the best ones.
        gamma: How much a gap counts. The theory has it grow with the square root of the number of
            rounds; it is a setting here.
        width: Hidden units of the network.
        perturbation: Size of the random linear part of its prediction; 0 for none.
        copies: Perturbations that are averaged over.
        learning_rate: Of the first online step; step t has this over t^(1/4).
        radius: How far the weights may move from the first ones.

    Example:
        >>> from supple.search import NeuFastCB
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, NeuFastCB(space=space, population=2), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "neu_fast_cb"

    regression: Literal["square", "kl"] = "kl"

    def chances(self, predicted: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance of each arm from its predicted loss."""
        return fast_chances(predicted, self.gamma)
