"""Hypervolume: closed forms, pymoo, and the laws it must obey."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV

from supple.errors import StudyError
from supple.study import Candidate, hypervolume, hypervolume_curve, reference_point

TWO = {"accuracy": "max", "latency": "min"}


def candidates(*values):
    return [
        Candidate(number=n, config=None, values={"accuracy": a, "latency": b})
        for n, (a, b) in enumerate(values)
    ]


def test_one_objective_is_the_distance_to_the_reference():
    assert hypervolume([[3.0], [2.0], [5.0]], [4.0], ["min"]) == 2.0
    assert hypervolume([[3.0], [2.0], [5.0]], [4.0], ["max"]) == 1.0


def test_two_objectives_by_hand():
    points = [(0.9, 2.0), (0.8, 1.0), (0.7, 1.5)]
    assert hypervolume(points, (0.5, 4.0), ("max", "min")) == pytest.approx(0.4 * 2 + 0.3 * 1)
    named = [{"latency": b, "accuracy": a} for a, b in points]
    assert hypervolume(named, {"accuracy": 0.5, "latency": 4.0}, TWO) == pytest.approx(1.1)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_it_is_that_of_pymoo(objectives, count):
    points = np.random.default_rng(count).random((count, objectives)) * 1.2
    reference = np.ones(objectives)
    expected = HV(ref_point=reference)(points)
    found = hypervolume(points, reference, ["min"] * objectives)
    assert found == pytest.approx(expected, rel=1e-12)
    turned = hypervolume(-points, -reference, ["max"] * objectives)
    assert turned == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=8))
def test_it_counts_the_unit_cubes_of_whole_numbers(points):
    cubes = np.zeros((5, 5, 5), dtype=bool)
    for x, y, z in points:
        cubes[x:, y:, z:] = True
    assert hypervolume(np.array(points), (5, 5, 5), ["min"] * 3) == cubes.sum()


def test_points_beyond_the_reference_and_no_points_add_nothing():
    assert hypervolume([(1.0, 1.0), (0.5, 2.0)], (1.0, 1.0), ("min", "min")) == 0.0
    assert hypervolume(np.empty((0, 2)), (1.0, 1.0), ("min", "min")) == 0.0
    assert hypervolume([], (1.0, 1.0), ("min", "min")) == 0.0


def test_the_curve_is_the_hypervolume_of_each_beginning():
    values = np.random.default_rng(0).random((30, 2))
    trials = candidates(*values.tolist())
    reference = {"accuracy": 0.1, "latency": 0.9}
    curve = hypervolume_curve(trials, TWO, reference)
    expected = [
        hypervolume(values[:n], (0.1, 0.9), ("max", "min")) for n in range(1, len(values) + 1)
    ]
    assert [n for n, _ in curve] == list(range(1, 31))
    assert [v for _, v in curve] == pytest.approx(expected)
    assert hypervolume_curve([], TWO) == []


def test_the_default_reference_is_the_worst_of_the_first_twenty_moved_out_by_a_tenth():
    values = [{"accuracy": 0.5 + n / 100, "latency": 10.0 - n} for n in range(20)]
    expected = {"accuracy": 0.5 - 0.019, "latency": 10.0 + 1.9}
    assert reference_point(values, TWO) == pytest.approx(expected)
    later = [*values, {"accuracy": 0.0, "latency": 99.0}]
    assert reference_point(later, TWO) == reference_point(values, TWO)


def test_a_single_point_has_a_hypervolume_by_default():
    assert hypervolume_curve(candidates((0.9, 2.0)), TWO)[0][1] == pytest.approx(0.09 * 0.2)


def test_what_has_no_hypervolume_is_refused():
    with pytest.raises(StudyError, match="not finite"):
        hypervolume([(np.nan, 1.0)], (1.0, 1.0), ("min", "min"))
    with pytest.raises(StudyError, match="2 values do not fit 3"):
        hypervolume([(0.0, 1.0)], (1.0, 1.0), ("min", "min", "min"))
    with pytest.raises(StudyError, match="without any complete trial"):
        reference_point([], TWO)
