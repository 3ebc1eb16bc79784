"""Gains in hypervolume against the hypervolume itself."""

import numpy as np
import pytest

from supple.search._gain import Fronts
from supple.study import hypervolume


def volume(points, corner):
    return hypervolume(points, corner, ["min"] * len(corner))


@pytest.mark.parametrize(("objectives", "tolerance"), [(1, 1e-9), (2, 1e-9), (3, 0.02)])
def test_gains_are_differences_of_hypervolumes_also_after_adding(objectives, tolerance):
    rng = np.random.default_rng(objectives)
    corner = np.ones(objectives)
    measured = 0.4 + 0.8 * rng.random((12, objectives))
    draws = 1.2 * rng.random((3, 25, objectives))
    fronts = Fronts(measured, corner, 3)
    held = [measured] * 3
    for step in range(3):
        expected = np.mean(
            [
                [volume(np.vstack([h, p]), corner) - volume(h, corner) for p in points]
                for h, points in zip(held, draws, strict=True)
            ],
            axis=0,
        )
        assert fronts.gains(draws) == pytest.approx(expected, abs=tolerance)
        fronts.add(draws[:, step])
        held = [np.vstack([h, d[step]]) for h, d in zip(held, draws, strict=True)]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_points_outside_and_points_there_already_gain_nothing(objectives):
    corner = np.ones(objectives)
    inside = np.full((1, objectives), 0.5)
    fronts = Fronts(inside, corner, 1)
    points = np.stack([inside[0], corner, corner + 1, np.full(objectives, 0.7)])
    assert fronts.gains(points[None]) == pytest.approx([0.0] * 4, abs=1e-9)
    empty = Fronts(np.empty((0, objectives)), corner, 1)
    assert empty.gains(inside[None])[0] == pytest.approx(0.5**objectives, rel=0.02)
