"""Boosted networks: the merged module, Newton steps by hand, losses that fall."""

import itertools
import math

import numpy as np
import pytest
import torch

from supple.compress.join import BoostedMLPClassifier, BoostedMLPRegressor
from supple.compress.join.boosting import _softmax
from supple.errors import CompressError


def table(classes, count=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4))
    score = x @ rng.normal(size=(4, max(2, classes)))
    return x, np.array([f"c{i}" for i in range(classes)])[
        score[:, :classes].argmax(1)
    ] if classes else np.sin(score[:, 0])


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
def test_the_merged_module_gives_the_staged_predictions(classes, activation):
    x, y = table(classes)
    kind = BoostedMLPClassifier if classes else BoostedMLPRegressor
    fitted = kind(n_units=9, units_per_step=3, activation=activation, max_iter=30).fit(x, y)
    stages = list(fitted.staged_predict(x))
    for steps in (1, 3):
        module = fitted.to_module(steps)
        assert module[0].out_features == 3 * steps
        scores = module.double()(torch.from_numpy(x)).detach().numpy()
        if classes == 0:
            np.testing.assert_allclose(scores[:, 0], stages[steps - 1], atol=1e-4)
        else:
            places = (scores[:, 0] > 0).astype(int) if classes == 2 else scores.argmax(1)
            assert (fitted.classes_[places] == stages[steps - 1]).mean() > 0.99


def test_two_classes_start_from_the_log_odds_and_a_sigmoid_gives_the_probability():
    x, y = table(2)
    fitted = BoostedMLPClassifier(n_units=4, max_iter=30).fit(x, y)
    share = (y == "c1").mean()
    assert fitted.start_[0] == pytest.approx(0.5 * math.log(share / (1 - share)))
    probability = torch.sigmoid(fitted.to_module().double()(torch.from_numpy(x)))
    np.testing.assert_allclose(fitted.predict_proba(x)[:, 1:], probability.detach(), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_residuals_and_newton_steps_are_derivatives(classes):
    rng = np.random.default_rng(1)
    columns = 1 if classes == 2 else 3
    scores, change = rng.normal(size=(2, 7, columns))
    numbers = rng.integers(classes, size=7)
    target = 2.0 * numbers[:, None] - 1 if classes == 2 else np.eye(3)[numbers]
    fitted = BoostedMLPClassifier(step="exact")

    def loss(factor):
        moved = torch.from_numpy(scores) + factor * torch.from_numpy(change)
        if classes == 2:
            return torch.log1p(torch.exp(-2 * torch.from_numpy(target) * moved)).sum()
        return torch.nn.functional.cross_entropy(moved, torch.from_numpy(numbers), reduction="sum")

    zero = torch.zeros((), dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(loss, zero)
    curve = torch.autograd.functional.hessian(loss, zero)
    assert fitted._newton(change, scores, target) == pytest.approx(float(-slope / curve))
    assert float((fitted._residual(scores, target) * change).sum()) == pytest.approx(float(-slope))


def test_more_units_fit_better_and_a_whole_fit_is_good():
    x, y = table(0)
    fitted = BoostedMLPRegressor(n_units=20, subsample=1.0).fit(x, y)
    errors = [float(((p - y) ** 2).mean()) for p in fitted.staged_predict(x)]
    assert errors[-1] < errors[0] / 2
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))
    x, y = table(3)
    assert BoostedMLPClassifier(n_units=12, units_per_step=2).fit(x, y).score(x, y) > 0.95


def test_equal_seeds_give_equal_networks():
    x, y = table(3)
    one, other = (BoostedMLPClassifier(n_units=3, max_iter=20).fit(x, y) for _ in range(2))
    assert np.array_equal(one.predict_proba(x), other.predict_proba(x))
    assert np.allclose(_softmax(np.zeros((1, 4))), 0.25)


def test_bad_input():
    x, y = table(2)
    for settings in (
        {"units_per_step": 0},
        {"subsample": 0.0},
        {"learning_rate": 0},
        {"step": "x"},
    ):
        with pytest.raises(CompressError):
            BoostedMLPClassifier(**settings).fit(x, y)
    with pytest.raises(CompressError, match="one class"):
        BoostedMLPClassifier().fit(x, np.zeros(len(x)))
