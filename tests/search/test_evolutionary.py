"""What only local search, regularised evolution, NSGA-III and WeakNAS promise."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from supple.search import NSGA3, LocalSearch, RegularizedEvolution, WeakNAS
from supple.search._history import History
from supple.space import Space, Width
from supple.study import non_dominated

GRID = Space({n: Width(options=tuple(range(1, 9))) for n in "abc"})


def past(rows, losses):
    genes = np.array(rows, dtype=np.int64)
    return History(
        genes=genes,
        losses=np.array(losses, dtype=float).reshape(len(genes), -1),
        seen=frozenset(row.tobytes() for row in genes),
        objectives=np.array(losses, dtype=float).reshape(len(genes), -1).shape[1],
    )


def rng():
    return np.random.default_rng(0)


# Local search


def test_local_search_proposes_the_neighbours_of_the_best():
    known = past([(3, 3, 3), (6, 6, 6)], [2.0, 1.0])
    found = LocalSearch(space=GRID, population=6).propose(known, 6, rng())
    assert {int(np.abs(row - (6, 6, 6)).sum()) for row in found} == {1}
    # Two steps up and down in each of three choices: no more than six.
    more = LocalSearch(space=GRID, population=9).propose(known, 9, rng())
    assert sorted(int(np.abs(row - (6, 6, 6)).sum()) for row in more)[:6] == [1] * 6
    assert all(np.abs(row - (3, 3, 3)).sum() == 1 for row in more[6:])


def test_local_search_moves_along_the_whole_front():
    known = past([(0, 7, 3), (4, 4, 4), (7, 0, 3)], [(0, 7), (3, 3), (7, 0)])
    found = LocalSearch(space=GRID, population=9).propose(known, 9, rng())
    nearest = {int(np.abs(known.genes - row).sum(axis=1).argmin()) for row in found}
    assert nearest == {0, 1, 2}


# Regularised evolution


def test_only_the_newest_configs_are_parents():
    rows = [(0, 0, n) for n in range(5)] + [(7, 7, n) for n in range(5)]
    known = past(rows, [0.0] * 5 + [9.0] * 5)  # the old ones are far better
    ageing = RegularizedEvolution(space=GRID, population=8, alive=5, tournament=5)
    found = ageing.propose(known, 8, rng())
    assert np.all((found[:, :2] == 7).sum(axis=1) >= 1)
    assert len(found) == 8


def test_with_a_tournament_of_all_the_best_one_is_the_parent():
    known = past([(0, 0, 0), (7, 7, 7), (3, 3, 3)], [5.0, 1.0, 5.0])
    ageing = RegularizedEvolution(space=GRID, population=6, alive=3, tournament=3)
    found = ageing.propose(known, 6, rng())
    assert np.all((found == 7).any(axis=1))
    assert not np.any(np.all(found == 7, axis=1))


def test_before_enough_are_alive_it_is_random():
    known = past([(0, 0, 0)], [1.0])
    ageing = RegularizedEvolution(space=GRID, population=4, alive=9)
    assert ageing.propose(known, 4, rng()).std() > 0.5


# NSGA-III


def test_nsga3_keeps_a_front_of_three_objectives_spread():
    """Children of a sphere's front reach its whole extent, not only the crowded corner."""
    draws = rng()
    rows = draws.integers(0, 8, size=(200, 3))
    rows = np.unique(rows, axis=0)
    length = np.linalg.norm(rows + 1.0, axis=1, keepdims=True)
    losses = 1 - (rows + 1.0) / length + 0.01 * length
    known = past(rows, losses)
    found = NSGA3(space=GRID, population=15).propose(known, 60, draws)
    assert np.all(found.max(axis=0) >= 6)
    assert len(found) >= 60


# WeakNAS


class Sum(RegressorMixin, BaseEstimator):
    """Predicts the place of the options, added up."""

    def fit(self, features, target):
        return self

    def predict(self, features):
        return features.reshape(len(features), 3, 8).argmax(axis=2).sum(axis=1).astype(float)


def test_weaknas_draws_evenly_from_the_top_of_its_pool():
    known = past([(7, 7, 7), (0, 0, 1)], [21.0, 1.0])
    weak = WeakNAS(space=GRID, population=20, predictor=Sum(), pool=400, top=40)
    sums = sorted(weak._configs().sum(axis=1).tolist())
    found = weak.propose(known, 20, rng())
    best = [s for s in sums if s <= sums[41]]
    assert len(found) == 20
    assert set(found.sum(axis=1).tolist()) <= set(best)
    assert found.sum(axis=1).max() > sums[21]  # not simply the best twenty
    assert {r.tobytes() for r in found} <= {r.tobytes() for r in weak._configs()}


def test_weaknas_measures_no_more_than_its_pool():
    weak = WeakNAS(space=GRID, population=5, predictor=Sum(), pool=6)
    known = past(weak._configs().tolist(), [float(n) for n in range(6)])
    assert len(weak.propose(known, 5, rng())) == 0
    assert len(weak.batch(known, 1)) == 5  # random configs take their place


@pytest.mark.slow
def test_all_of_them_beat_chance_on_a_smooth_problem():
    from supple.search import RandomSearch
    from supple.study import Study, hypervolume

    def score(config):
        a, b, c = config.values()
        return {"loss": (9 - a) ** 2 + 0.3 * (c - 3) ** 2, "cost": float(a * b + c)}

    def reached(kind, **settings):
        found = []
        for seed in range(3):
            study = Study.open(None, space=GRID, directions={"loss": "min", "cost": "min"})
            study.run(score, kind(space=GRID, seed=seed, **settings), evaluations=60)
            values = [list(t.values.values()) for t in study.complete]
            assert non_dominated(values).any()
            found.append(hypervolume(values, (80.0, 80.0), ("min", "min")))
        return float(np.mean(found))

    chance = reached(RandomSearch)
    assert reached(LocalSearch) > chance
    assert reached(RegularizedEvolution, population=5, alive=20) > chance
    assert reached(NSGA3, population=10) > chance
    assert reached(WeakNAS, population=10, pool=400) > chance
