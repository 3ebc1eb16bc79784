"""LINAS: measure few, predict many. An evolution on cheap predictors, corrected by measuring.

Each loop fits one predictor per objective to everything measured, lets NSGA-II run for
thousands of predicted evaluations, and measures the population that comes out. Sarah et al.
2022, "A Hardware-Aware System for Accelerating Deep Neural Network Optimization" (catalogue 76).
With one objective the evolution is an elitist genetic algorithm, with two it is NSGA-II, with
three it selects as NSGA-III does.

Differences from the released code, mostly pitfalls that the catalogue names: configs measured
before are skipped for the next best, a tenth of each batch is random so that the predictors see
more than their own opinion, the last batch may be shorter, and the evolution starts at the best
configs measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from supple.errors import SearchError, near_misses
from supple.papers import implements
from supple.predict import RidgeSVR
from supple.search._evolution import Evolution, Select
from supple.search._history import History
from supple.search._niches import directions_for, niched_rows
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._unseen import fresh_rows, random_unseen
from supple.space import Encoding

__all__ = ["LINAS"]

Genes = NDArray[np.int64]


@implements(76)
@dataclass(eq=False)
class LINAS(Strategy):
    """Evolution on predictors, refitted after every batch; one, two or three objectives.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Configs measured per loop (the paper: 50). Smaller loops correct the
            predictors sooner and need fewer measurements; larger ones can be measured in parallel.
        start: Configs to propose first.
        predictor: The regressor for each objective, an unfitted scikit-learn estimator.
        encoding: How configs become its features; inactive choices are masked.
        inner: How the evolution on the predictors selects: by crowding (``nsga2``), by reference
            directions (``nsga3``), or by directions only from three objectives up (``auto``).
        inner_evaluations: Predicted evaluations per loop, repeated children included.
        inner_population: Population of the evolution on the predictors.
        random_share: Fraction of each batch that is random.
        crossover: Chance of a pair of parents to be crossed.
        eta_crossover: How near to their parents blended numbers stay.
        mutation: Chance of a choice to mutate; None for one over the number of choices.
        eta_mutation: How near to the old option a mutated number stays.

    Example:
        >>> from supple.search import LINAS
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> linas = LINAS(space=space, population=2, inner_evaluations=400)
        >>> study.run(evaluate, linas, evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "linas"

    predictor: Any = field(default_factory=RidgeSVR)
    encoding: Encoding = "onehot"
    inner: Literal["auto", "nsga2", "nsga3"] = "auto"
    inner_evaluations: int = 20_000
    inner_population: int = 200
    random_share: float = 0.1
    crossover: float = 0.9
    eta_crossover: float = 15.0
    mutation: float | None = None
    eta_mutation: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner_population < 2 or self.inner_evaluations < self.inner_population:
            raise SearchError(
                f"an evolution of {self.inner_evaluations} predicted evaluations with a "
                f"population of {self.inner_population} cannot run.",
                hint="use a population of at least 2, and at least as many evaluations.",
            )
        if not 0.0 <= self.random_share <= 1.0:
            raise SearchError(
                f"random_share is a fraction, got {self.random_share!r}.", hint="random_share=0.1."
            )
        if self.inner not in ("auto", "nsga2", "nsga3"):
            raise SearchError(
                f"there is no inner evolution {self.inner!r}.",
                hint=near_misses(str(self.inner), ("auto", "nsga2", "nsga3")),
            )
        if self.encoding not in ("onehot", "ordinal"):
            raise SearchError(
                f"there is no encoding {self.encoding!r}.",
                hint=near_misses(str(self.encoding), ("onehot", "ordinal")),
            )

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """The best unseen configs by prediction, and some random ones."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        chosen = self._promising(past, count - round(self.random_share * count), rng)
        seen = past.seen | {row.tobytes() for row in chosen}
        return np.vstack([chosen, random_unseen(self.space, count - len(chosen), seen, rng)])

    def _promising(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Unseen configs from the end of an evolution on the predictors, best first."""
        predictors = self._fit(past)

        def predicted(rows: Genes) -> NDArray[np.float64]:
            features = self.space.encode_indices(rows, self.encoding)
            return np.column_stack([p.predict(features) for p in predictors])

        size = self.inner_population
        known = past.genes[best_rows(past.losses, size // 2)]
        drawn = random_unseen(self.space, size - len(known), {r.tobytes() for r in known}, rng)
        first = np.vstack([known, drawn])
        generations = self.inner_evaluations // size - 1
        evolution = Evolution.of(self, self._select(past.objectives, rng))
        found = evolution.minimise(predicted, first, generations, rng)
        unseen = fresh_rows(found.genes, past.seen)
        return unseen[best_rows(predicted(unseen), count)] if len(unseen) else unseen

    def _select(self, objectives: int, rng: np.random.Generator) -> Select:
        """How the inner evolution keeps its best."""
        if self.inner == "nsga2" or (self.inner == "auto" and objectives < 3):
            return best_rows
        directions = directions_for(objectives, self.inner_population)
        return lambda losses, count: niched_rows(losses, count, directions, rng)

    def _fit(self, past: History) -> list[Any]:
        """One predictor per objective, fitted to all that was measured."""
        features = self.space.encode_indices(past.genes, self.encoding)
        return [clone(self.predictor).fit(features, losses) for losses in past.losses.T]
