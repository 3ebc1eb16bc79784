"""Intervals of the predictors on recorded results: 90 % of them hold 80 to 97 %."""

import numpy as np
import pytest

from supple.predict import (
    AdditiveLatency,
    BoostedTrees,
    GaussianProcess,
    GPMixture,
    NetworkEnsemble,
    PairwiseRidge,
    RidgeSVR,
    Stacked,
)
from supple.search.tables import load_table

# Rows that a predictor is fitted to, of all rows of a table.
SHARE = 0.4
FAST = [GaussianProcess(), GPMixture(), PairwiseRidge(), BoostedTrees(trees=80)]
SLOW = [RidgeSVR(), NetworkEnsemble(), Stacked()]


def recorded(name, objective):
    """The genes of a table and the values of an objective."""
    table = load_table(name)
    configs = list(table.space.configs())
    rows = table.space.to_indices_many(configs)
    return table.space, rows, np.array([table.measure(c)[objective] for c in configs])


def coverage(model, rows, features, values):
    """The share of held-out values within the 90 % interval, over three splits."""
    held = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows))
        fit, score = np.split(order, [round(SHARE * len(rows))])
        mean, std = model.fit(features[fit], values[fit]).predict(features[score], return_std=True)
        held.append(np.mean(np.abs(mean - values[score]) <= 1.645 * std))
    return float(np.mean(held))


@pytest.mark.parametrize(
    "model",
    [*FAST, *(pytest.param(model, marks=pytest.mark.slow) for model in SLOW)],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("objective", ["accuracy", "latency"])
def test_ninety_percent_intervals_hold_80_to_97_percent(model, objective):
    space, rows, values = recorded("digits_subnets", objective)
    found = coverage(model, rows, space.encode_indices(rows), values)
    assert 0.80 <= found <= 0.97


def test_so_do_those_of_the_latency_table():
    space, rows, values = recorded("digits_subnets", "latency")
    assert 0.80 <= coverage(AdditiveLatency(space=space), rows, rows, values) <= 0.97
