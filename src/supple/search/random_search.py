"""Random search: configs drawn at random, none twice. The baseline of everything.

Many a search method does no better: Li and Talwalkar 2019, "Random Search and Reproducibility for
Neural Architecture Search"; for sparse networks catalogue 86, 2403.08265.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.papers import implements
from supple.search._history import History
from supple.search._strategy import Strategy
from supple.search._unseen import random_unseen

__all__ = ["RandomSearch"]


@implements(86)
@dataclass(eq=False)
class RandomSearch(Strategy):
    """Proposes random configs, each option of each choice equally likely.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: How many are drawn at once; says nothing about the result.
        start: Configs to propose first.

    Example:
        >>> from supple.search import RandomSearch
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, RandomSearch(space=space, seed=0), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "random"

    def propose(self, past: History, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Random rows that were not seen."""
        return random_unseen(self.space, count, past.seen, rng)
