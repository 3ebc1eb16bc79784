"""Intervals over seeds, against closed forms and the share of times they hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from supple.claims import bootstrap_interval, t_interval
from supple.errors import ClaimError


def test_t_is_the_one_of_scipy():
    values = [0.3, 0.1, 0.7, 0.4, 0.9]
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    mean, low, high = t_interval(values, 0.9)
    assert (mean, low, high) == pytest.approx((0.48, expected.low, expected.high))


def test_two_values_give_the_wide_interval_of_one_degree_of_freedom():
    # t with one degree of freedom is Cauchy's law: its 97.5 % point is tan(pi * 0.475).
    _, low, high = t_interval([0.0, 2.0])
    assert high == pytest.approx(1 + math.tan(math.pi * 0.475))
    assert low == pytest.approx(1 - math.tan(math.pi * 0.475))


@pytest.mark.parametrize("interval", [t_interval, bootstrap_interval])
def test_equal_values_leave_no_doubt(interval):
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 2.0, size=(400, 12))
    t = [t_interval(row) for row in samples]
    assert 0.92 < np.mean([low <= 1 <= high for _, low, high in t]) < 0.98
    boot = [bootstrap_interval(row, resamples=400) for row in samples[:200]]
    assert 0.86 < np.mean([low <= 1 <= high for _, low, high in boot]) < 0.98


def test_the_bootstrap_is_the_same_every_time():
    assert bootstrap_interval([1.0, 3.0, 4.0]) == bootstrap_interval([1.0, 3.0, 4.0])


@pytest.mark.parametrize("interval", [t_interval, bootstrap_interval])
@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_too_few_or_not_finite_is_refused(interval, values):
    with pytest.raises(ClaimError, match="two or more finite numbers"):
        interval(values)
