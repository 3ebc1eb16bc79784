"""Regularised evolution: the oldest die, whatever they are worth.

A parent is the best of a small random sample of the newest configs; its child differs in one
choice. Because nothing survives by its score alone, a lucky measurement is forgotten. Real,
Aggarwal, Huang, Le 2019, "Regularized Evolution for Image Classifier Architecture Search"
(arXiv 1802.01548). The tournaments are those of the evolution of layers (catalogue 50): with
several losses the winner is the one of lowest rank, then the loneliest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError
from supple.search._history import History
from supple.search._pareto import order_of_merit
from supple.search._strategy import Strategy
from supple.search._unseen import fresh_rows, random_unseen

__all__ = ["RegularizedEvolution"]

# Children drawn for each that is wanted, before random configs fill the batch.
TRIES = 20


@dataclass(eq=False)
class RegularizedEvolution(Strategy):
    """Mutates winners of tournaments among the newest configs.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Children of one generation. The paper makes one at a time; a batch can be
            measured in parallel.
        start: Configs to propose first.
        alive: How many of the newest configs may be parents; before there are as many, configs
            are random. (The paper: 100, of thousands that are measured.)
        tournament: Configs of a tournament.

    Example:
        >>> from supple.search import RegularizedEvolution
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> ageing = RegularizedEvolution(space=space, population=2, alive=3, tournament=2)
        >>> study.run(evaluate, ageing, evaluations=6)
        Study('study' at memory: 6 of 6 trials complete)
    """

    name: ClassVar[str] = "regularized_evolution"

    population: int = 10
    alive: int = 50
    tournament: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alive < 1 or self.tournament < 1:
            raise SearchError(
                f"an evolution with {self.alive} alive and tournaments of {self.tournament} "
                "cannot run.",
                hint="alive=50, tournament=10.",
            )

    def propose(self, past: History, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Children of winners, each different in at least one choice."""
        if len(past.genes) < self.alive:
            return random_unseen(self.space, count, past.seen, rng)
        genes, losses = past.genes[-self.alive :], past.losses[-self.alive :]
        ranks, distance = order_of_merit(losses)
        merit = np.empty(len(genes), dtype=np.int64)
        merit[np.lexsort((-distance, ranks))] = np.arange(len(genes))
        found = genes[:0]
        for _ in range(TRIES * count):
            rivals = rng.permutation(len(genes))[: self.tournament]
            parent = genes[rivals[np.argmin(merit[rivals])]]
            config = self.space.mutate(self.space.from_indices(parent), rng)
            child = self.space.to_indices(config)[None]
            found = fresh_rows(np.vstack([found, child]), past.seen)
            if len(found) >= count:
                break
        return found
