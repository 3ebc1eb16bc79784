"""The weights of stacking, by hand and by a slow search."""

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

from supple.predict import Stacked
from supple.predict._cross_validation import convex_weights
from tests.predict.test_ridge_svr import data


def test_weights_are_those_of_a_search_over_all_mixtures():
    rng = np.random.default_rng(0)
    target = rng.normal(size=50)
    guesses = np.stack([target + s * rng.normal(size=50) for s in (0.5, 0.7, 3.0)], axis=1)
    found = convex_weights(guesses, target)
    grid = np.linspace(0, 1, 101)
    mixtures = [(a, b, 1 - a - b) for a in grid for b in grid if a + b <= 1]
    errors = [np.mean((guesses @ m - target) ** 2) for m in mixtures]
    assert found == pytest.approx(mixtures[int(np.argmin(errors))], abs=0.02)
    assert found.sum() == pytest.approx(1.0)


def test_the_better_predictor_gets_the_weight():
    features, _ = data(60)
    line = features @ np.arange(features.shape[1])
    kinds = {"mean": DummyRegressor(), "line": LinearRegression()}
    model = Stacked(predictors=kinds).fit(features, line)
    assert model.weights_["line"] > 0.99
    assert model.errors_["line"] < 1e-6 < model.errors_["mean"]
    noise = np.random.default_rng(0).normal(size=60)
    assert Stacked(predictors=kinds).fit(features, noise).weights_["mean"] > 0.9


def test_a_mixture_is_at_least_as_good_as_its_best_member_on_held_out_rows():
    features, target = data(40, noise=0.02)
    model = Stacked().fit(features, target)
    assert model.residual_ * model.scale_ <= min(model.errors_.values()) * 1.001
