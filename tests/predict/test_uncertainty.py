"""What every predictor promises: it learns, it knows how sure it is, it survives odd data."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from supple.predict import (
    BoostedTrees,
    GaussianProcess,
    NetworkEnsemble,
    PairwiseRidge,
    RidgeSVR,
    Stacked,
)
from tests.predict.test_ridge_svr import data

CHEAP = {"pairwise": PairwiseRidge(), "trees": BoostedTrees(trees=20, folds=2)}
ALL = [
    BoostedTrees(trees=60),
    GaussianProcess(),
    NetworkEnsemble(hidden=8, steps=60),
    PairwiseRidge(),
    RidgeSVR(),
    Stacked(predictors=CHEAP),
]


def name(model):
    return type(model).__name__


@pytest.mark.parametrize("model", ALL, ids=name)
def test_ninety_percent_intervals_hold_about_ninety_percent(model):
    inside = []
    for seed in range(4):
        features, target = data(80, noise=0.01, seed=seed)
        others, truth = data(300, noise=0.01, seed=100 + seed)
        mean, std = clone(model).fit(features, target).predict(others, return_std=True)
        inside.append(np.mean(np.abs(mean - truth) <= 1.645 * std))
    assert 0.80 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize("model", ALL, ids=name)
def test_it_predicts_better_with_more_rows(model):
    others, truth = data(500, seed=1)
    errors = [
        np.sqrt(np.mean((clone(model).fit(*data(rows)).predict(others) - truth) ** 2))
        for rows in (12, 160)
    ]
    assert errors[1] < 0.6 * errors[0]
    assert errors[1] < 0.6 * np.std(truth)


@pytest.mark.parametrize("model", ALL, ids=name)
def test_few_rows_and_constant_targets(model):
    for rows in (1, 2, 3):
        features, target = data(rows)
        found, std = clone(model).fit(features, target).predict(features, return_std=True)
        assert np.all(np.isfinite(found))
        assert np.all(np.isinf(std)) if rows == 1 else np.all(std >= 0)
    features, _ = data(12)
    found, std = clone(model).fit(features, np.full(12, 0.91)).predict(features, return_std=True)
    assert found == pytest.approx(np.full(12, 0.91))
    assert std.tolist() == [0.0] * 12


@pytest.mark.parametrize("model", ALL, ids=name)
def test_the_unit_of_the_target_does_not_matter(model):
    features, target = data(30)
    others, _ = data(10, seed=1)
    one, std = clone(model).fit(features, target).predict(others, return_std=True)
    found, scaled = clone(model).fit(features, 2.0**20 * target).predict(others, return_std=True)
    assert found == pytest.approx(2.0**20 * one, rel=1e-3)
    assert scaled == pytest.approx(2.0**20 * std, rel=0.05)


@pytest.mark.parametrize("model", ALL, ids=name)
def test_no_warning_no_global_seed_and_the_same_result_twice(model):
    features, target = data(25)
    before = np.random.get_state()[1].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = clone(model).fit(features, target).predict(features)
    assert np.random.get_state()[1].tolist() == before
    assert np.array_equal(one, clone(model).fit(features, target).predict(features))
    with pytest.raises(ValueError, match="NaN"):
        clone(model).fit(features, np.full(25, np.nan))
