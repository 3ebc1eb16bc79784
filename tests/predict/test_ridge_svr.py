"""RidgeSVR against plain scikit-learn, closed forms, and its own promises."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.svm import SVR

from supple.predict import RidgeSVR
from supple.predict._cross_validation import folds, mape
from supple.predict._ridge import ridge_path
from supple.predict._svr import fit_svr, rbf
from supple.space import Condition, Depth, Space, Width


def data(rows, noise=0.0, seed=0):
    """One-hot rows of 12 choices among 4 options, with accuracies around 0.9."""
    rng = np.random.default_rng(seed)
    genes = rng.integers(0, 4, (rows, 12))
    size = genes @ np.linspace(0.2, 1.0, 12)
    target = 1 - 0.3 * np.exp(-size / 8) + 0.01 * (genes[:, 0] > 1) * (genes[:, 1] == 2)
    return np.eye(4)[genes].reshape(rows, -1), target + noise * rng.normal(size=rows)


def test_ridge_for_all_penalties_is_that_of_scikit_learn():
    features, target = data(40)
    alphas = np.array([0.1, 1.0, 30.0])
    weights, intercepts = ridge_path(features, target, alphas)
    for column, alpha in enumerate(alphas):
        plain = Ridge(alpha=alpha).fit(features, target)
        assert weights[:, column] == pytest.approx(plain.coef_, abs=1e-10)
        assert intercepts[column] == pytest.approx(plain.intercept_, abs=1e-10)


def test_support_vectors_are_those_of_scikit_learn():
    features, target = data(60)
    target = 100 * target
    others, _ = data(30, seed=1)
    gamma = 1 / features.shape[1]
    plain = SVR(gamma=gamma, C=7.0, epsilon=0.0).fit(features, target)
    ours = fit_svr(features, target, 7.0, gamma)
    assert ours.predict(others) == pytest.approx(plain.predict(others), rel=1e-6)


def test_the_kernel_by_hand():
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert rbf(rows, rows, 0.1) == pytest.approx(np.array([[1, np.exp(-2.5)], [np.exp(-2.5), 1]]))


def test_one_model_is_plain_scikit_learn():
    features, target = data(50)
    others, _ = data(20, seed=1)
    ours = RidgeSVR(models=("ridge",), alphas=(2.0,)).fit(features, target)
    assert ours.predict(others) == pytest.approx(
        Ridge(alpha=2.0).fit(features, target).predict(others), abs=1e-10
    )
    machine = RidgeSVR(models=("svr",), costs=(5.0,)).fit(features, target)
    plain = SVR(gamma=1 / features.shape[1], C=5.0, epsilon=0.0).fit(features, 100 * target)
    assert machine.predict(others) == pytest.approx(plain.predict(others) / 100, abs=1e-5)


def test_the_choice_and_its_uncertainty_are_those_of_cross_validation():
    features, target = data(43, noise=0.01)
    ours = RidgeSVR(models=("ridge",), alphas=(0.1, 3.0)).fit(features, target)
    errors = {}
    for alpha in (0.1, 3.0):
        held_out = cross_val_predict(Ridge(alpha=alpha), features, target, cv=folds(43, 5, 0))
        errors[alpha] = np.mean(np.abs(held_out - target) / target)
        assert ours.errors_["ridge", alpha] == pytest.approx(errors[alpha], rel=1e-8)
        if alpha == ours.model_[1]:
            assert ours.std_ == pytest.approx(np.sqrt(np.mean((held_out - target) ** 2)))
    assert ours.model_ == ("ridge", min(errors, key=errors.get))
    assert ours.error_ == pytest.approx(min(errors.values()))


def test_both_kinds_are_tried_and_the_better_one_wins():
    features, target = data(120)
    found = RidgeSVR().fit(features, target)
    assert {kind for kind, _ in found.errors_} == {"ridge", "svr"}
    assert found.error_ == min(found.errors_.values())
    assert found.errors_[found.model_] == found.error_
    # Pure addition is for ridge, what ridge cannot say for the kernel.
    added = features @ np.linspace(1, 2, features.shape[1])
    assert RidgeSVR().fit(features, added).model_[0] == "ridge"
    signs = features[:, :4] @ [-1, 1, -1, 1] * (features[:, 4:8] @ [-1, 1, -1, 1])
    assert RidgeSVR().fit(features[:, :8], 5 + signs).model_[0] == "svr"


@pytest.mark.parametrize("rows", [25, 50, 100])
def test_ninety_percent_intervals_hold_about_ninety_percent(rows):
    inside = []
    for seed in range(8):
        features, target = data(rows, noise=0.01, seed=seed)
        others, truth = data(300, noise=0.01, seed=100 + seed)
        mean, std = RidgeSVR().fit(features, target).predict(others, return_std=True)
        inside.append(np.mean(np.abs(mean - truth) <= 1.645 * std))
    assert 0.80 <= np.mean(inside) <= 0.97


def test_it_predicts_better_with_more_rows():
    others, truth = data(500, seed=1)
    errors = [
        np.sqrt(np.mean((RidgeSVR().fit(*data(rows)).predict(others) - truth) ** 2))
        for rows in (10, 40, 160)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.35 * np.std(truth)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
def test_the_unit_of_the_target_does_not_matter(scale):
    features, target = data(30)
    others, _ = data(10, seed=1)
    one, std = RidgeSVR().fit(features, target).predict(others, return_std=True)
    found, scaled = RidgeSVR().fit(features, scale * target).predict(others, return_std=True)
    # A power of ten is scaled away; what is left is rounding and where the solver stops.
    assert found == pytest.approx(scale * one, rel=1e-4)
    assert scaled == pytest.approx(scale * std, rel=1e-2)


# Few rows, strange targets


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_few_rows(rows):
    features, target = data(rows)
    found, std = RidgeSVR().fit(features, target).predict(features, return_std=True)
    assert np.all(np.isfinite(found))
    assert found.min() >= target.min() - 0.1
    assert found.max() <= target.max() + 0.1
    assert np.all(np.isinf(std)) if rows == 1 else np.all(std > 0)


@pytest.mark.parametrize("value", [0.0, -3.0, 0.91, 1e9])
def test_constant_targets_are_predicted_as_they_are(value):
    features, _ = data(12)
    model = RidgeSVR().fit(features, np.full(12, value))
    found, std = model.predict(features, return_std=True)
    assert found == pytest.approx(np.full(12, value))
    assert std.tolist() == [0.0] * 12


def test_constant_features_give_the_mean():
    target = np.array([1.0, 2.0, 3.0, 6.0])
    found = RidgeSVR(models=("ridge",)).fit(np.ones((4, 3)), target).predict(np.ones((2, 3)))
    assert found == pytest.approx([3.0, 3.0])


def test_targets_around_zero_are_no_trouble():
    features, target = data(60)
    centred = target - target[3]
    found = RidgeSVR().fit(features, centred)
    assert np.corrcoef(found.predict(features), centred)[0, 1] > 0.9
    assert mape(np.zeros(3), np.zeros((3, 1))).tolist() == [0.0]


# A good citizen


def test_no_warning_no_global_seed_and_the_same_result_twice():
    features, target = data(40)
    before = np.random.get_state()[1].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = RidgeSVR().fit(features, target).predict(features)
        RidgeSVR(costs=(1e9,)).fit(features, target)  # does not converge quickly
    assert np.random.get_state()[1].tolist() == before
    assert np.array_equal(one, RidgeSVR().fit(features, target).predict(features))


def test_it_is_an_estimator_of_scikit_learn():
    model = RidgeSVR(alphas=(1.0, 2.0), seed=3)
    assert clone(model).get_params() == model.get_params()
    features, target = data(30)
    assert 0.5 < model.fit(features, target).score(features, target) <= 1.0
    assert model.n_features_in_ == features.shape[1]
    with pytest.raises(ValueError, match="features"):
        model.predict(features[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        RidgeSVR().fit(features, np.full(30, np.nan))
    with pytest.raises(ValueError, match="models must be"):
        RidgeSVR(models=("forest",)).fit(features, target)


def test_configs_that_differ_in_inactive_choices_get_the_same_prediction():
    space = Space(
        {
            "depth": Depth(options=(1, 2)),
            "width": Width(options=(8, 16, 24), when=(Condition(choice="depth", options=(2,)),)),
        }
    )
    genes = np.array([[1, 0], [1, 1], [1, 2], [0, 0], [0, 1]])
    features = space.encode_indices(genes)
    model = RidgeSVR().fit(features, np.array([3.0, 4.0, 5.0, 1.0, 1.0]))
    assert model.predict(features)[3] == model.predict(features)[4]


def test_folds_are_a_partition():
    for count, parts in ((10, 5), (7, 5), (3, 5), (2, 5)):
        pieces = folds(count, parts, 0)
        assert len(pieces) == min(count, parts)
        assert sorted(np.concatenate([score for _, score in pieces])) == list(range(count))
        assert all(not set(fit) & set(score) for fit, score in pieces)
