"""Crowding distance and selection against pymoo and by hand."""

import numpy as np
import pytest
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

from supple.search._pareto import best_rows, crowding_distance
from supple.study import dominance_ranks


@pytest.mark.parametrize("objectives", [2, 3])
def test_crowding_distance_is_that_of_pymoo_on_every_front(objectives):
    losses = np.random.default_rng(objectives).random((120, objectives))
    ranks = dominance_ranks(losses)
    found = crowding_distance(losses, ranks)
    for rank in range(ranks.max() + 1):
        front = ranks == rank
        if np.count_nonzero(front) > 2:  # pymoo calls the distance of a lone row 0
            assert found[front] == pytest.approx(calc_crowding_distance(losses[front]))
        else:
            assert np.all(np.isinf(found[front]))


def test_crowding_distance_by_hand():
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [9.0, 9.0]])
    distance = crowding_distance(losses, np.array([0, 0, 0, 1]))
    # The middle one: its neighbours are a whole range apart in both objectives.
    assert distance.tolist() == [np.inf, 1.0, np.inf, np.inf]


def test_a_front_without_range_has_no_inner_distance():
    losses = np.ones((4, 2))
    distance = crowding_distance(losses, np.zeros(4, dtype=int))
    assert np.count_nonzero(np.isinf(distance)) == 2
    assert np.count_nonzero(distance == 0.0) == 2


def test_the_best_rows_are_those_of_low_rank_then_the_lonely_ones():
    line = np.array([[0.0, 10.0], [1.0, 8.9], [1.1, 8.8], [5.0, 5.0], [10.0, 0.0], [11.0, 11.0]])
    assert set(best_rows(line, 3).tolist()) == {0, 3, 4}
    assert best_rows(line, 6)[-1] == 5
    assert len(best_rows(line, 99)) == 6
    assert best_rows(np.array([[3.0], [1.0], [2.0]]), 2).tolist() == [1, 2]
