"""What only LINAS promises."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from supple.search import LINAS, NSGA2, RandomSearch
from supple.search._history import History
from supple.seeds import generator
from supple.study import Study, hypervolume, non_dominated
from tests.search.conftest import DIRECTIONS, score, stages

SPACE = stages(2, 3)
REFERENCE = {"accuracy": 0.4, "latency": 4.0}
SMALL = {"inner_evaluations": 3000, "inner_population": 60}


def losses(rows):
    values = [score(config) for config in SPACE.from_indices_many(rows)]
    return np.array([[-v["accuracy"], v["latency"]] for v in values])


def past(count, seed=0):
    rows = SPACE.to_indices_many(SPACE.sample_many(count, np.random.default_rng(seed)))
    seen = frozenset(row.tobytes() for row in rows)
    return History(genes=rows, losses=losses(rows), seen=seen, objectives=2)


class Oracle(RegressorMixin, BaseEstimator):
    """Knows the truth, and counts how often it is asked."""

    asked = 0
    column = 0

    def fit(self, features, target):
        self.column_ = Oracle.column
        Oracle.column = (Oracle.column + 1) % 2
        return self

    def predict(self, features):
        Oracle.asked += len(features)
        # One-hot columns of active choices back to genes, inactive ones at their largest.
        genes, start = np.zeros((len(features), len(SPACE)), dtype=int), 0
        for position, choice in enumerate(SPACE.values()):
            block = features[:, start : start + len(choice.options)]
            start += len(choice.options)
            genes[:, position] = np.where(block.any(1), block.argmax(1), choice.largest_index)
        return losses(genes)[:, self.column_]


def test_with_perfect_predictors_the_batch_is_on_the_true_front():
    every = losses(SPACE.to_indices_many(SPACE.configs()))
    front = {tuple(row) for row in every[non_dominated(every)]}
    Oracle.asked = Oracle.column = 0
    strategy = LINAS(
        space=SPACE,
        population=10,
        predictor=Oracle(),
        random_share=0.0,
        inner_evaluations=10_000,
        inner_population=100,
    )
    batch = strategy.batch(past(20), 1)
    found = {tuple(row) for row in losses(batch)}
    assert len(found & front) >= 9
    # Children that were there already are not asked about again.
    assert 2 * 6000 < Oracle.asked <= 2 * (10_000 + 2 * 100)


def test_a_tenth_of_each_batch_is_random_and_comes_last():
    strategy = LINAS(space=SPACE, population=20, **SMALL)
    known = past(40)
    rng = generator(strategy.seed, "search", "linas", 3)
    promising = strategy._promising(known, 18, rng)
    batch = strategy.batch(known, 3)
    assert np.array_equal(batch[:18], promising)
    assert len({row.tobytes() for row in batch} | known.seen) == 20 + 40
    without = LINAS(space=SPACE, population=20, random_share=0.0, **SMALL).batch(known, 3)
    # What was promised as good is better than what was drawn.
    corner = np.array([-REFERENCE["accuracy"], REFERENCE["latency"]])
    drawn = hypervolume(losses(batch[18:]), corner, ("min", "min"))
    assert drawn < hypervolume(losses(without[:18]), corner, ("min", "min"))


def test_the_first_batch_is_random_and_needs_no_predictor():
    strategy = LINAS(space=SPACE, population=5, predictor=None, **SMALL)
    empty = History(
        genes=np.zeros((0, len(SPACE)), dtype=int),
        losses=np.zeros((0, 2)),
        seen=frozenset(),
        objectives=2,
    )
    assert len({row.tobytes() for row in strategy.batch(empty, 0)}) == 5


def hypervolumes(kind, **settings):
    found = []
    for seed in range(3):
        study = Study.open(None, space=SPACE, directions=DIRECTIONS)
        study.run(score, kind(space=SPACE, seed=seed, population=15, **settings), evaluations=75)
        found.append(study.front.hypervolume(REFERENCE))
    return np.array(found)


@pytest.mark.slow
def test_it_needs_fewer_measurements_than_nsga2_and_random_search():
    every = losses(SPACE.to_indices_many(SPACE.configs()))
    corner = (-REFERENCE["accuracy"], REFERENCE["latency"])
    best = hypervolume(every, corner, ("min", "min"))
    linas, nsga2 = hypervolumes(LINAS) / best, hypervolumes(NSGA2) / best
    chance = hypervolumes(RandomSearch) / best
    assert linas.mean() > nsga2.mean() > chance.mean()
    assert linas.min() > 0.98
