"""NSGA-III: evolve towards the front, and keep one config near each of many directions.

As NSGA-II, but what is crowded is told by directions spread evenly between the objectives, which
keeps a front of three objectives even where crowding distance does not. Deb and Jain 2014. As with
``nsga2``, the parents are the best of everything measured so far. Parents of one rank meet by
chance; those of different ranks, as in U-NSGA-III (Seada and Deb 2016), in tournaments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.search._evolution import Evolution
from supple.search._history import History
from supple.search._niches import directions_for, niched_rows
from supple.search._strategy import Strategy
from supple.search._unseen import random_unseen, unseen_from
from supple.study import dominance_ranks

__all__ = ["NSGA3"]


@dataclass(eq=False)
class NSGA3(Strategy):
    """The genetic algorithm with reference directions, for one, two or three objectives.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Parents, and children per generation; also the most directions there are.
        start: Configs to propose first.
        crossover: Chance of a pair of parents to be crossed.
        eta_crossover: How near to their parents blended numbers stay.
        mutation: Chance of a choice to mutate; None for one over the number of choices.
        eta_mutation: How near to the old option a mutated number stays.

    Example:
        >>> from supple.search import NSGA3
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, NSGA3(space=space, population=2), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "nsga3"

    crossover: float = 1.0
    eta_crossover: float = 30.0
    mutation: float | None = None
    eta_mutation: float = 20.0

    @classmethod
    def _smallest_population(cls) -> int:
        return 2

    def propose(self, past: History, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Children of the best configs measured so far."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        variation = Evolution.of(self).variation
        directions = directions_for(past.objectives, self.population)
        best = niched_rows(past.losses, self.population, directions, rng)
        parents, ranks = past.genes[best], dominance_ranks(past.losses[best])

        def children() -> NDArray[np.int64]:
            rivals = rng.integers(0, len(parents), size=(2, count, 2))
            second_wins = ranks[rivals[..., 1]] < ranks[rivals[..., 0]]
            winners = np.where(second_wins, rivals[..., 1], rivals[..., 0])
            return variation.children(parents[winners[0]], parents[winners[1]], rng)

        return unseen_from(children, past.seen, count)
