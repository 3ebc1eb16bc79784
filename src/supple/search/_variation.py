"""Children of a population, all at once: crossover and mutation on rows of genes.

Genes of numbers are ordered, so their parents are blended (simulated binary crossover, rounded)
and mutation prefers near options (polynomial mutation, as Deb and Agrawal). Genes of swaps are
names without order: either parent's, or any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supple.space import Space

__all__ = ["Variation"]

Genes = NDArray[np.int64]


class Variation:
    """Makes children in one space.

    Args:
        space: The space.
        crossover: Chance of a pair of parents to be crossed.
        eta_crossover: How near to their parents blended genes stay; larger is nearer.
        mutation: Chance of a gene to mutate; None for one over their number.
        eta_mutation: How near to the old option a mutated number stays.
    """

    def __init__(
        self,
        space: Space,
        *,
        crossover: float,
        eta_crossover: float,
        mutation: float | None,
        eta_mutation: float,
    ) -> None:
        self.space = space
        self.crossover = crossover
        self.eta_crossover = eta_crossover
        self.eta_mutation = eta_mutation
        self.top = np.array([len(choice.options) - 1 for choice in space.values()])
        self.is_number = np.array([choice.is_number for choice in space.values()])
        self.has_conditions = any(choice.when for choice in space.values())
        free = max(int(np.count_nonzero(self.top)), 1)
        self.mutation = 1.0 / free if mutation is None else mutation

    def children(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """One valid, canonical child for each pair of parents."""
        first, second = self._completed(first, second)
        child = self._cross(first, second, rng)
        return self.space.canonical_indices(self._mutate(child, rng))

    def _completed(self, first: Genes, second: Genes) -> tuple[Genes, Genes]:
        """The parents, each with its inactive genes taken from the other one.

        An inactive gene stands at its largest option, which its parent never chose.
        """
        if not self.has_conditions:
            return first, second
        from_first = np.where(self.space.active_mask(first), first, second)
        return from_first, np.where(self.space.active_mask(second), second, first)

    def _cross(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Half of the genes of a crossed pair are blended or swapped, the others kept."""
        shape = first.shape
        taken = rng.random(shape) < 0.5
        taken &= (rng.random(len(first)) < self.crossover)[:, None]
        blended = self._blend(first, second, rng)
        child: Genes = np.where(taken, np.where(self.is_number, blended, second), first)
        return child

    def _blend(self, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
        """Simulated binary crossover within the bounds: one of the two children, rounded."""
        low = np.minimum(first, second).astype(np.float64)
        high = np.maximum(first, second).astype(np.float64)
        gap = np.maximum(high - low, 1e-12)
        u = rng.random(first.shape)
        is_upper = rng.random(first.shape) < 0.5
        # The child lies on either side of the middle; what room there is bounds the spread.
        room = np.where(is_upper, self.top - high, low)
        beta = 1.0 + 2.0 * room / gap
        alpha = 2.0 - beta ** -(self.eta_crossover + 1.0)
        inside = u <= 1.0 / alpha
        power = np.where(inside, u * alpha, 1.0 / np.maximum(2.0 - u * alpha, 1e-300))
        spread = power ** (1.0 / (self.eta_crossover + 1.0)) * gap
        middle = low + high
        child = 0.5 * np.where(is_upper, middle + spread, middle - spread)
        child = np.where(high > low, child, first)
        rounded: Genes = np.rint(np.clip(child, 0, self.top)).astype(np.int64)
        return rounded

    def _mutate(self, genes: Genes, rng: np.random.Generator) -> Genes:
        mutates = (rng.random(genes.shape) < self.mutation) & (self.top > 0)
        u = rng.random(genes.shape)
        top = np.maximum(self.top, 1)
        moved = self._polynomial(genes, u, top)
        # Rounding swallows small steps, but a mutation is meant to change something.
        step = np.where(u < 0.5, -1, 1)
        step = np.where(genes + step < 0, 1, np.where(genes + step > self.top, -1, step))
        moved = np.where(moved == genes, genes + step, moved)
        other = (genes + rng.integers(1, top + 1, size=genes.shape)) % (top + 1)
        mutated: Genes = np.where(mutates, np.where(self.is_number, moved, other), genes)
        return mutated

    def _polynomial(self, genes: Genes, u: NDArray[np.float64], top: Genes) -> Genes:
        """Polynomial mutation within the bounds, rounded."""
        power = 1.0 / (self.eta_mutation + 1.0)
        below, above = genes / top, (top - genes) / top
        left = 2.0 * u + (1.0 - 2.0 * u) * (1.0 - below) ** (self.eta_mutation + 1.0)
        right = 2.0 * (1.0 - u) + (2.0 * u - 1.0) * (1.0 - above) ** (self.eta_mutation + 1.0)
        with np.errstate(invalid="ignore"):  # the side not taken may be negative
            delta = np.where(u < 0.5, left**power - 1.0, 1.0 - right**power)
        moved: Genes = np.rint(np.clip(genes + delta * top, 0, top)).astype(np.int64)
        return moved
