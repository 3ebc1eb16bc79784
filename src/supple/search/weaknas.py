"""WeakNAS: a weak predictor points at a good part of the space, which is then sampled.

A predictor is fitted to what was measured and ranks a large pool of configs; the next ones are
drawn evenly from the top of the ranking, so that the predictor need not be right in detail. Wu et
al. 2021, "Stronger NAS with Weaker Predictors" (arXiv 2102.10490), the baseline of the paper of
LINAS (catalogue 76). With several losses the pool is ranked by predicted dominance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor

from supple.errors import SearchError
from supple.search._history import History
from supple.search._pareto import best_rows
from supple.search._strategy import Strategy
from supple.search._unseen import fresh_rows, random_unseen
from supple.seeds import derived_seed, generator

__all__ = ["WeakNAS"]

Genes = NDArray[np.int64]


def _forest() -> Any:
    return RandomForestRegressor(n_estimators=100, max_depth=10, random_state=0)


@dataclass(eq=False)
class WeakNAS(Strategy):
    """Draws from the top of a ranked pool.

    Args:
        space: The space to search.
        seed: Seed of everything the strategy draws.
        population: Configs measured per iteration (the paper: 100 in a super-network, 10 in
            tabular spaces).
        start: Configs to propose first.
        predictor: The regressor for each objective, an unfitted scikit-learn estimator. The paper
            uses 1,000 boosted trees, a network or a forest of 1,000 trees of depth 10; here a
            forest of 100, which ranks alike.
        pool: Configs that are ranked (the paper: 10,000).
        top: From how many of the best the next are drawn (the paper: 1,000, or 100 in tabular
            spaces); never more than a tenth of the pool.

    Example:
        >>> from supple.search import WeakNAS
        >>> from supple.space import Space, Width
        >>> from supple.study import Study
        >>> space = Space({"a": Width(options=(8, 16, 24)), "b": Width(options=(8, 16, 24))})
        >>> def evaluate(config):
        ...     return {"loss": 1 / config["a"], "latency": config["a"] + config["b"]}
        >>> study = Study.open(space=space, directions={"loss": "min", "latency": "min"})
        >>> study.run(evaluate, WeakNAS(space=space, population=3), evaluations=5)
        Study('study' at memory: 5 of 5 trials complete)
    """

    name: ClassVar[str] = "weaknas"

    population: int = 100
    predictor: Any = field(default_factory=_forest)
    pool: int = 10_000
    top: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool < 1 or self.top < 1:
            raise SearchError(
                f"a pool of {self.pool} with a top of {self.top} has nothing to draw from.",
                hint="pool=10_000, top=1000.",
            )
        self._pool: Genes | None = None

    def propose(self, past: History, count: int, rng: np.random.Generator) -> Genes:
        """Random rows from the top of the pool."""
        if len(past.genes) < 2:
            return random_unseen(self.space, count, past.seen, rng)
        rows = fresh_rows(self._configs(), past.seen)
        if not len(rows):
            return rows
        known = self.space.encode_indices(past.genes)
        features = self.space.encode_indices(rows)
        predicted = []
        for place, losses in enumerate(past.losses.T):
            model = clone(self.predictor)
            if "random_state" in model.get_params():
                seed = derived_seed(self.seed, "weaknas", len(past.genes), place)
                model.set_params(random_state=seed)
            predicted.append(model.fit(known, losses).predict(features))
        top = best_rows(np.stack(predicted, axis=1), self._top(count))
        chosen: Genes = rows[rng.permutation(top)[:count]]
        return chosen

    def _top(self, count: int) -> int:
        return max(count, min(self.top, len(self._configs()) // 10))

    def _configs(self) -> Genes:
        """The pool: the same for every batch."""
        if self._pool is None:
            rng = generator(self.seed, "search", "weaknas", "pool")
            self._pool = random_unseen(self.space, self.pool, (), rng)
        return self._pool
