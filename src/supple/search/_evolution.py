"""One vectorised NSGA-II, for real measurements and for a predictor's guesses alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from supple.search._pareto import best_rows, order_of_merit
from supple.search._unseen import fresh_rows
from supple.search._variation import Variation
from supple.space import Space

__all__ = ["Evolution", "Population", "Select"]

Genes = NDArray[np.int64]
Losses = NDArray[np.float64]
# The rows of losses that survive, of all and of how many.
Select = Callable[[Losses, int], NDArray[np.int64]]


class _Settings(Protocol):
    space: Space
    crossover: float
    eta_crossover: float
    mutation: float | None
    eta_mutation: float


@dataclass(frozen=True, kw_only=True)
class Population:
    """Rows of genes and their losses."""

    genes: Genes
    losses: Losses

    def best(self, count: int, select: Select = best_rows) -> Population:
        """The best ``count``, by rank and crowding distance unless told otherwise."""
        rows = select(self.losses, count)
        return Population(genes=self.genes[rows], losses=self.losses[rows])


class Evolution:
    """The operators of NSGA-II in one space.

    Args:
        variation: Makes children of parents.
        select: Who survives in ``minimise``.
    """

    def __init__(self, variation: Variation, select: Select = best_rows) -> None:
        self.variation, self.select = variation, select

    @classmethod
    def of(cls, settings: _Settings, select: Select = best_rows) -> Self:
        """The evolution that a strategy's settings describe."""
        return cls(
            Variation(
                settings.space,
                crossover=settings.crossover,
                eta_crossover=settings.eta_crossover,
                mutation=settings.mutation,
                eta_mutation=settings.eta_mutation,
            ),
            select,
        )

    def offspring(
        self, parents: Genes, losses: Losses, count: int, rng: np.random.Generator
    ) -> Genes:
        """``count`` children of parents that won binary tournaments."""
        ranks, distance = order_of_merit(losses)
        merit = np.empty(len(parents), dtype=np.int64)  # 0 is the best
        merit[np.lexsort((-distance, ranks))] = np.arange(len(parents))
        rivals = rng.integers(0, len(parents), size=(2, count, 2))
        # Winning is having the smaller merit number, so of two rivals the minimum counts.
        by_merit = np.argsort(merit, kind="stable")
        winners = by_merit[merit[rivals].min(axis=2)]
        return self.variation.children(parents[winners[0]], parents[winners[1]], rng)

    def minimise(
        self,
        objective: Callable[[Genes], Losses],
        first: Genes,
        generations: int,
        rng: np.random.Generator,
    ) -> Population:
        """The population, with all its last children, after some generations.

        Args:
            objective: Losses of rows of genes; cheap, so nothing is remembered.
            first: The first population, different rows; its size stays.
            generations: How often children are made.
            rng: Where all randomness comes from.
        """
        population = Population(genes=first, losses=objective(first))
        merged = population
        for _ in range(generations):
            children = self.offspring(population.genes, population.losses, len(first), rng)
            children = fresh_rows(children, {row.tobytes() for row in population.genes})
            if len(children):
                merged = Population(
                    genes=np.vstack([population.genes, children]),
                    losses=np.vstack([population.losses, objective(children)]),
                )
                population = merged.best(len(first), self.select)
        return merged
