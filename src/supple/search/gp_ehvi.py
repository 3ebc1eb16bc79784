"""GP-EHVI: Bayesian optimisation of the hypervolume, in batches that shrink.

A mixture of Gaussian processes per objective is fitted to everything measured. Functions are
drawn from them, and a batch is filled one config after the other with what adds most to the
hypervolume on average over these draws, given those that are in it already. The first batch
covers the space from its smallest to its largest configs. An objective that is counted rather
than measured (MACs, parameters) is known beforehand, and is a feature of the other ones.

Expected hypervolume improvement: Emmerich 2005; in batches by draws: Daulton, Balandat, Bakshy
2020 (arXiv 2006.05078). What each part is worth is printed by ``benchmarks/search.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError
from supple.search._evolution import Evolution
from supple.search._gain import Fronts
from supple.search._history import History
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._surrogate import Surrogate
from supple.search._unseen import fresh_rows, random_unseen
from supple.study import non_dominated

__all__ = ["GPEHVI"]

Genes = NDArray[np.int64]
Losses = NDArray[np.float64]
Exact = Mapping[int, Callable[[Genes], Losses]]

# Spaces up to this size are looked through instead of evolved.
ENUMERABLE = 20_000
# Configs drawn to choose the first batch from.
FIRST_POOL = 1500
# Settings are fitted anew with every batch up to so many measurements, then with so many more each.
ALL_FITTED = 60
REFIT = 1.15


@dataclass(eq=False)
class GPEHVI(Strategy):
    """Expected hypervolume improvement under Gaussian processes; one, two or three objectives.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Configs of the first batch.
        start: Configs to propose first, before the smallest and the largest.
        later: Configs of every batch after the first.
        exact: Objectives known without measuring, by their place: the losses of rows of genes.
            They have to be cheap; a few thousand are asked for with every batch.
        features: Columns that may help to predict, for rows of genes, shape (N, any number): scores
            that need no training, such as ``supple.measure.SynFlow``, or a table of latencies.
            Asked for the measured configs and for the candidates of each batch.
        reference: The worst values of interest, in the order of the objectives: the corner of the
            hypervolume. None takes the worst of the front measured so far, and ``margin``.
        draws: Functions drawn from the posterior; 0 takes the mean alone.
        candidates: Configs among which a batch is chosen.
        covers: Whether the first batch spans the space; otherwise it is random.
        averages: Whether several Gaussian processes are averaged by how well they predict what was
            left out; otherwise the likeliest one is taken.
        warps: Whether losses far above the median are drawn in before they are fitted.
        margin: How far beyond the worst of the front the corner lies without a ``reference``, as
            a fraction of the front's range.
        inner_evaluations: Predicted evaluations of the evolution that finds the candidates.
        inner_population: Its population.
        crossover: Chance of a pair of parents to be crossed.
        eta_crossover: How near to their parents blended numbers stay.
        mutation: Chance of a choice to mutate; None for one over the number of choices.
        eta_mutation: How near to the old option a mutated number stays.

    Example:
        >>> from supple.search import GPEHVI
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, GPEHVI(space=space, population=4, later=2), evaluations=8)
        Study('study' at memory: 8 of 8 trials complete)
    """

    name: ClassVar[str] = "gp_ehvi"

    later: int = 10
    exact: Exact | None = field(default=None, repr=False)
    features: Callable[[Genes], Losses] | None = field(default=None, repr=False)
    reference: tuple[float, ...] | None = None
    draws: int = 32
    candidates: int = 800
    covers: bool = True
    averages: bool = True
    warps: bool = True
    margin: float = 0.1
    inner_evaluations: int = 6000
    inner_population: int = 200
    crossover: float = 0.9
    eta_crossover: float = 15.0
    mutation: float | None = None
    eta_mutation: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        # Only to save time: what was fitted last, and to what.
        self._fitted: tuple[bytes, Surrogate] | None = None
        for name, least in (("later", 1), ("candidates", 2), ("draws", 0), ("inner_population", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise SearchError(
                    f"'{name}' of 'gp_ehvi' must be at least {least}, got {value!r}.",
                    hint=f"leave {name} out for its default.",
                )

    def _size(self, number: int) -> int:
        return self.population if number == 0 else self.later

    def _place(self, trial: int) -> tuple[int, int]:
        if trial < self.population:
            return 0, trial
        number, position = divmod(trial - self.population, self.later)
        return number + 1, position

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """What adds most to the hypervolume, by what the measured configs tell."""
        if len(past.genes) < 2:
            return self._first(past, count, rng)
        surrogate = self._surrogate(past)
        low, corner = self._frame(past)
        pool = self._candidates(surrogate, past, (low, corner), rng)
        if len(pool) <= count:
            return pool
        losses = surrogate.draws(pool, self.draws, rng)
        return pool[self._chosen(past.losses, losses, (low, corner), count)]

    def _surrogate(self, past: History) -> Surrogate:
        """What is measured, with settings fitted to most of it and kept for some batches."""
        rows = _fitted_rows(len(past.genes))
        first = replace(past, genes=past.genes[:rows], losses=past.losses[:rows])
        key = first.genes.tobytes() + first.losses.tobytes()
        if self._fitted is None or self._fitted[0] != key:
            surrogate = Surrogate(
                self.space,
                first,
                self.exact or {},
                warps=self.warps,
                features=self.features,
                averages=self.averages,
            )
            self._fitted = (key, surrogate)
        fitted = self._fitted[1]
        return fitted if rows == len(past.genes) else fitted.conditioned(past)

    def _frame(self, past: History) -> tuple[Losses, Losses]:
        """The best losses so far, and the worst that are of interest."""
        front = past.losses[non_dominated(past.losses)]
        low, high = front.min(axis=0), front.max(axis=0)
        if self.reference is None:
            return low, high + self.margin * np.where(high > low, high - low, 1.0)
        if len(self.reference) != past.objectives:
            raise SearchError(
                f"a reference of {len(self.reference)} values does not fit "
                f"{past.objectives} objectives.",
                hint="give one value for each objective, in their order.",
            )
        signs = np.where(past.maximised or (False,) * past.objectives, -1.0, 1.0)
        corner = np.asarray(self.reference, dtype=np.float64) * signs
        return np.where(low < corner, low, corner - 1.0), corner

    def _chosen(
        self, measured: Losses, losses: Losses, frame: tuple[Losses, Losses], count: int
    ) -> Genes:
        """Candidates picked one after the other, each the best given those before."""
        low, corner = frame
        scale = corner - low
        drawn = (losses - low) / scale
        fronts = Fronts((measured - low) / scale, np.ones(len(low)), len(drawn))
        taken: list[int] = []
        for _ in range(count):
            gains = fronts.gains(drawn)
            gains[taken] = -np.inf
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            taken.append(best)
            fronts.add(drawn[:, best])
        if len(taken) < count:  # nothing promises a gain: what is best by mean
            rest = best_rows(drawn.mean(axis=0), len(taken) + count)
            taken += [int(r) for r in rest if r not in set(taken)][: count - len(taken)]
        return np.array(taken, dtype=np.int64)

    def _candidates(
        self,
        surrogate: Surrogate,
        past: History,
        frame: tuple[Losses, Losses],
        rng: np.random.Generator,
    ) -> Genes:
        """Unseen configs near the predicted front: all if the space is small."""
        if self.space.is_size_exact and self.space.size <= ENUMERABLE:
            rows = self._every()
        else:
            rows = self._evolved(surrogate, past, frame, rng)
        rows = fresh_rows(rows, past.seen)
        if len(rows) <= self.candidates:
            return rows
        # A third by the mean; the others by what they would add if they were better than
        # predicted, by one and by two standard deviations.
        mean, std = surrogate.mean_and_std(rows)
        low, corner = frame
        scale = corner - low
        ways = [best_rows(_framed(mean, frame), self.candidates // 3)]
        for better in (1.0, 2.0):
            fronts = Fronts((past.losses - low) / scale, np.ones(len(low)), 1)
            gains = fronts.gains((mean - better * std - low)[None] / scale)
            ways.append(np.argsort(-gains, kind="stable")[: self.candidates // 3])
        return rows[list(dict.fromkeys(np.concatenate(ways).tolist()))]

    def _every(self) -> Genes:
        if not hasattr(self, "_all_rows"):
            self._all_rows = self.space.to_indices_many(self.space.configs())
        return self._all_rows

    def _evolved(
        self,
        surrogate: Surrogate,
        past: History,
        frame: tuple[Losses, Losses],
        rng: np.random.Generator,
    ) -> Genes:
        def predicted(rows: Genes) -> Losses:
            return _framed(surrogate.mean(rows), frame)

        size = self.inner_population
        evolution = Evolution.of(self)
        known = past.genes[best_rows(_framed(past.losses, frame), size // 2)]
        drawn = random_unseen(self.space, size - len(known), {r.tobytes() for r in known}, rng)
        generations = max(self.inner_evaluations // size - 1, 1)
        first = np.vstack([known, drawn])
        found = evolution.minimise(predicted, first, generations, rng).genes
        # What lies around the measured front, and around the predicted one.
        around = np.vstack([known[:50], found[best_rows(predicted(found), 150)]])
        near = around[rng.integers(0, len(around), size=(2, 2 * size))]
        return np.vstack([found, evolution.variation.children(near[0], near[1], rng)])

    # The first batch

    def _first(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """The smallest, the largest, and configs spread between them."""
        if not self.covers:
            return random_unseen(self.space, count, past.seen, rng)
        ends = self.space.to_indices_many([self.space.largest, self.space.smallest])
        pool = fresh_rows(np.vstack([ends, self._spread(rng)]), past.seen)
        if len(pool) <= count:
            return pool
        size = self._size_of(pool)
        taken = [0, 1] if len(past.seen) == 0 else []
        largest = min(float(size.max()), max(self._largest(past), float(size.min())))
        wanted = np.linspace(size.min(), largest, max(count - len(taken), 1) + 2)[1:-1]
        for target in wanted:
            # Of the twenty nearest in size, the one that differs most from those taken.
            near = [int(i) for i in np.argsort(np.abs(size - target)) if i not in taken][:20]
            apart = [_apart(pool[i], pool[taken]) for i in near]
            taken.append(near[int(np.argmax(apart))])
        return pool[taken[:count]]

    def _size_of(self, rows: Genes) -> Losses:
        """How large configs are: by an exact objective, else by the places of their options."""
        for losses in (self.exact or {}).values():
            return losses(rows)
        top = np.array([max(len(c.options) - 1, 1) for c in self.space.values()])
        is_number = np.array([choice.is_number for choice in self.space.values()])
        found: Losses = np.where(is_number, rows / top, 0.0).mean(axis=1)
        return found

    def _largest(self, past: History) -> float:
        """The size beyond which nothing counts: where the reference is, if the size is exact."""
        if not self.exact or self.reference is None:
            return np.inf
        objective = next(iter(self.exact))
        sign = -1.0 if past.maximised and past.maximised[objective] else 1.0
        return sign * float(self.reference[objective])

    def _spread(self, rng: np.random.Generator) -> Genes:
        """Random configs of all sizes: each leans to small or large options as a whole."""
        lean = rng.random(FIRST_POOL)
        columns = [
            rng.binomial(len(choice.options) - 1, lean)
            if choice.is_number
            else rng.integers(0, len(choice.options), size=FIRST_POOL)
            for choice in self.space.values()
        ]
        leaning = self.space.canonical_indices(np.stack(columns, axis=1).astype(np.int64))
        plain = random_unseen(self.space, FIRST_POOL // 5, (), rng)
        return np.vstack([leaning, plain])


def _fitted_rows(count: int) -> int:
    """To how many of the first measurements the settings are fitted: to all, or most of many."""
    rows = ALL_FITTED
    while rows < count:
        rows, last = max(int(REFIT * rows), rows + 1), rows
        if rows > count:
            return last
    return min(rows, count)


def _framed(losses: Losses, frame: tuple[Losses, Losses]) -> Losses:
    """Losses made worse, in all objectives, by how far one of them is beyond the corner."""
    low, corner = frame
    scale = corner - low
    beyond = (np.maximum(losses - corner, 0.0) / scale).sum(axis=1, keepdims=True)
    found: Losses = losses + 10.0 * scale * beyond
    return found


def _apart(row: Genes, others: Genes) -> int:
    return int(np.count_nonzero(others != row, axis=1).min(initial=len(row)))
