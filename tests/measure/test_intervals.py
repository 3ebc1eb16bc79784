"""95 % intervals against closed forms, another library and their own promise."""

import random
from statistics import fmean, median, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from supple.measure._intervals import (
    LEAST_FOR_MEDIAN,
    mean_interval,
    median_interval,
    wilson_interval,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case):
    right, count = case
    theirs = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_mean_interval_equals_the_textbook_for_equal_weights():
    values = [0.2, 0.9, 0.4, 0.7, 0.1]
    half = 1.959963984540054 * stdev(values) / len(values) ** 0.5
    expected = (fmean(values), fmean(values) - half, fmean(values) + half)
    assert mean_interval(values, [1.0] * 5) == pytest.approx(expected)


def test_mean_interval_weighs():
    assert mean_interval([1.0, 4.0], [3.0, 1.0])[0] == pytest.approx(1.75)
    assert mean_interval([2.5], [7.0]) == (2.5, 2.5, 2.5)


@pytest.mark.parametrize("count", [6, 7, 12, 30, 31, 100, 999])
def test_median_interval_is_the_narrowest_with_95_percent(count):
    """Binomial: the interval between ranks k and n+1-k misses with 2 P(B < k)."""
    value, low, high = median_interval(list(range(count)))
    assert value == (count - 1) / 2
    assert low + high == count - 1
    assert 2 * binom.cdf(low, count, 0.5) <= 0.05 < 2 * binom.cdf(low + 1, count, 0.5)


def test_median_interval_of_many_values_is_off_by_at_most_one_rank():
    for count in (1001, 2500, 6001):
        low = median_interval(list(range(count)))[1]
        exact = binom.ppf(0.025, count, 0.5) - 1
        assert abs(low - exact) <= 1


def test_median_interval_of_few_values_is_their_range():
    assert LEAST_FOR_MEDIAN == 6
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_median_interval_holds_the_median_as_often_as_it_says():
    generator = random.Random(0)
    held = 0
    for _ in range(2000):
        values = [generator.lognormvariate(0.0, 1.0) for _ in range(30)]
        found, low, high = median_interval(values)
        held += low <= 1.0 <= high
        assert low <= found == median(values) <= high
    # True coverage for n = 30 is 95.7 %; four standard errors of 2000 draws are 1.8 points.
    assert 0.939 <= held / 2000 <= 0.975
