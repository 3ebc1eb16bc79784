"""NSGA-II: evolve a population towards the front, and keep it spread along it.

Parents win binary tournaments by rank, then by crowding distance; children are crossed and
mutated. Deb, Pratap, Agarwal, Meyarivan 2002. Here the parents of a generation are the best of
*everything* measured so far, not only of the last two generations: nothing that was paid for is
forgotten, and the generation follows from the stored trials alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.search._evolution import Evolution
from supple.search._history import History
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._unseen import random_unseen, unseen_from

__all__ = ["NSGA2"]


@dataclass(eq=False)
class NSGA2(Strategy):
    """The elitist genetic algorithm, for one, two or three objectives.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Parents, and children per generation.
        start: Configs to propose first.
        crossover: Chance of a pair of parents to be crossed.
        eta_crossover: How near to their parents blended numbers stay.
        mutation: Chance of a choice to mutate; None for one over the number of choices.
        eta_mutation: How near to the old option a mutated number stays.

    Example:
        >>> from supple.search import NSGA2
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, NSGA2(space=space, population=2), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "nsga2"

    crossover: float = 0.9
    eta_crossover: float = 15.0
    mutation: float | None = None
    eta_mutation: float = 20.0

    @classmethod
    def _smallest_population(cls) -> int:
        return 2

    def propose(self, past: History, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Children of the best configs measured so far."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        evolution = Evolution.of(self)
        best = best_rows(past.losses, self.population)
        parents, losses = past.genes[best], past.losses[best]
        return unseen_from(
            lambda: evolution.offspring(parents, losses, count, rng), past.seen, count
        )
