"""The selection of NSGA-III against pymoo."""

import numpy as np
import pytest
from pymoo.algorithms.moo.nsga3 import associate_to_niches, get_extreme_points_c, get_nadir_point
from pymoo.util.ref_dirs import get_reference_directions

from supple.search._niches import associate, das_dennis, directions_for, nadir, niched_rows
from supple.study import dominance_ranks


@pytest.mark.parametrize(("objectives", "partitions"), [(2, 12), (3, 7), (4, 3)])
def test_directions_are_those_of_pymoo(objectives, partitions):
    theirs = get_reference_directions("das-dennis", objectives, n_partitions=partitions)
    ours = das_dennis(objectives, partitions)
    assert sorted(map(tuple, ours.round(9))) == sorted(map(tuple, theirs.round(9)))


def test_as_many_directions_as_fit():
    assert len(directions_for(3, 20)) == 15
    assert len(directions_for(2, 20)) == 20
    assert len(directions_for(3, 3)) == 3
    assert directions_for(1, 20).tolist() == [[1.0]]


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_nearest_direction_is_that_of_pymoo(objectives):
    losses = np.random.default_rng(0).random((60, objectives))
    directions = das_dennis(objectives, 5)
    niche, apart, _ = associate_to_niches(
        losses, directions, np.zeros(objectives), np.ones(objectives)
    )
    ours, ours_apart = associate(losses, directions)
    assert np.array_equal(ours, niche)
    assert ours_apart == pytest.approx(apart, abs=1e-9)


def test_the_nadir_is_that_of_pymoo():
    rng = np.random.default_rng(0)
    points = rng.random((80, 3))
    front = points[dominance_ranks(points) == 0]
    ideal, worst = front.min(axis=0), front.max(axis=0)
    extreme = get_extreme_points_c(front, ideal)
    theirs = get_nadir_point(extreme, ideal, points.max(axis=0), worst, points.max(axis=0))
    assert nadir(front, ideal) == pytest.approx(np.minimum(theirs, worst), abs=1e-9)
    line = np.array([[0.0, 1.0, 1.0], [0.0, 0.5, 2.0]])
    assert nadir(line, line.min(axis=0)).tolist() == [0.0, 1.0, 2.0]


def test_whole_fronts_first_then_one_config_for_each_direction():
    rng = np.random.default_rng(0)
    angles = np.linspace(0, np.pi / 2, 41)
    crowd = np.linspace(0.70, 0.80, 30)
    front = 1 - np.stack([np.cos([*angles, *crowd]), np.sin([*angles, *crowd])], axis=1)
    behind = front[:5] + 1.0
    losses = np.vstack([behind, front])
    chosen = niched_rows(losses, 11, das_dennis(2, 10), rng)
    assert np.all(chosen >= 5)
    ideal = front.min(axis=0)
    span = nadir(front, ideal) - ideal
    niches, _ = associate((losses[chosen] - ideal) / span, das_dennis(2, 10))
    assert len(set(niches.tolist())) >= 10
    assert set(niched_rows(losses, len(losses), das_dennis(2, 10), rng)) == set(range(len(losses)))
    everything = niched_rows(losses, len(front) + 2, das_dennis(2, 10), rng)
    assert set(range(5, len(losses))) <= set(everything.tolist())
