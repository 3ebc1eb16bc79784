"""Local search: measure the neighbours of the best configs until none is better.

For one loss this is hill climbing from the best config measured; for several, Pareto local search
(Paquete, Chiarandini, Stützle 2004): neighbours of the front, its lonely parts first. Where the
neighbourhood is used up, random configs start it anew. A strong baseline on tabular spaces (White,
Nolen, Savani 2021, "Exploring the Loss Landscape in Neural Architecture Search").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.search._history import History
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._unseen import fresh_rows, random_unseen

__all__ = ["LocalSearch"]


@dataclass(eq=False)
class LocalSearch(Strategy):
    """Proposes neighbours of the best configs, one step in one choice away.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Random configs to begin with, and neighbours per batch.
        start: Configs to propose first.

    Example:
        >>> from supple.search import LocalSearch
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, LocalSearch(space=space, population=2), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "local_search"

    population: int = 10

    def propose(self, past: History, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Unseen neighbours of the best rows, taking turns."""
        if not len(past.genes):
            return random_unseen(self.space, count, past.seen, rng)
        found = past.genes[:0]
        for index in best_rows(past.losses, len(past.genes)):
            config = self.space.from_indices(past.genes[index])
            near = self.space.to_indices_many(self.space.neighbours(config))
            near = fresh_rows(near, past.seen | {row.tobytes() for row in found})
            # A few of each, so that the whole front moves.
            share = max(1, count // 5) if past.objectives > 1 else count
            found = np.vstack([found, rng.permutation(near)[:share]])
            if len(found) >= count:
                break
        return found[:count]
