"""GPMixture: weights, and a prediction that is between those of its members."""

import numpy as np
import pytest
from scipy.linalg import solve

from supple.predict import GaussianProcess, GPMixture
from supple.predict._gp_math import JITTER, Kernel, Posterior, factored, fit_kernel
from tests.predict.test_ridge_svr import data

VIEWS = [[[0, 1, 2, 3]], [[0], [1], [2], [3]]]


def rows(count, seed=0):
    """Of four columns, one matters much, one a little, and two not at all."""
    rng = np.random.default_rng(seed)
    features = rng.random((count, 4))
    return features, np.sin(6 * features[:, 0]) + 0.2 * features[:, 1]


def kernel(groups):
    count = len(groups)
    return Kernel(groups, np.full(count, -2.0), -0.5, np.full(count, 0.5), np.log(0.05), -1.0)


def test_leaving_one_out_is_what_fitting_without_that_row_gives():
    features, target = rows(20)
    posterior = Posterior(kernel(((0, 1), (2, 3))), features, target)
    mean, variance = posterior.left_out()
    for out in range(20):
        kept = np.arange(20) != out
        without = Posterior(posterior.kernel, features[kept], target[kept])
        noise = np.exp(posterior.kernel.noise) + JITTER
        assert mean[out] == pytest.approx(without.mean(features[[out]])[0], abs=1e-8)
        there = without.variance(features[[out]])[0] + noise
        assert variance[out] == pytest.approx(there, abs=1e-8)


def test_left_out_by_hand():
    """Two rows: each is predicted from the other alone."""
    features, target = np.array([[0.0], [1.0]]), np.array([1.0, -1.0])
    posterior = Posterior(
        Kernel(((0,),), np.array([-30.0]), 0.0, np.zeros(1), -9.0, 0.0), features, target
    )
    whole = posterior.kernel(features, features) + (np.exp(-9.0) + JITTER) * np.eye(2)
    assert posterior.left_out()[0][0] == pytest.approx(
        whole[0, 1] * solve(whole[1:, 1:], target[1:])[0]
    )


def test_a_group_may_leave_the_others_only_if_the_rows_say_so():
    features, target = rows(60)
    target = (target - target.mean()) / target.std()
    groups = ((0,), (1,), (2,), (3,))
    free, _ = fit_kernel(features, target, kernel(groups), spread=1.5, apart=1.5, steps=60)
    tied, _ = fit_kernel(features, target, kernel(groups), spread=1.5, apart=1e-3, steps=60)
    assert np.ptp(tied.scales) < 0.01
    assert free.scales[0] - free.scales[2:].max() > 1.0


@pytest.mark.parametrize("kind", [GaussianProcess, GPMixture])
def test_conditioned_on_more_it_keeps_its_settings_and_predicts_better(kind):
    features, target = rows(60)
    others, truth = rows(200, seed=1)
    early = kind(views=VIEWS).fit(features[:25], target[:25])
    before = early.predict(others, return_std=True)
    later = early.conditioned(features, target)
    errors = [np.sqrt(np.mean((m.predict(others) - truth) ** 2)) for m in (early, later)]
    assert errors[1] < 0.7 * errors[0]
    assert later.predict(others, return_std=True)[1].mean() < before[1].mean()
    for same, old in zip(early.predict(others, return_std=True), before, strict=True):
        assert np.array_equal(same, old)  # the first one is as it was
    again = early.conditioned(features[:25], target[:25])
    assert again.predict(others) == pytest.approx(before[0], abs=1e-9)


def test_conditioned_by_hand():
    """Settings of the first ten rows, and the textbook formula on all twenty."""
    features, target = rows(20)
    early = GaussianProcess().fit(features[:10], target[:10])
    later = early.conditioned(features, target)
    x, kernel = features - early.centre_, early.kernel_
    gram = kernel(x, x) + (np.exp(kernel.noise) + JITTER) * np.eye(20)
    scaled = (target - early.mean_) / early.scale_
    point = np.array([[0.2, 0.4, 0.6, 0.8]])
    expected = kernel(point - early.centre_, x) @ solve(gram, scaled)
    assert later.predict(point) == pytest.approx(early.mean_ + early.scale_ * expected)


def test_what_was_constant_is_fitted_anew():
    features, target = rows(30)
    dull = GPMixture(views=VIEWS).fit(features[:5], np.ones(5))
    fresh = GPMixture(views=VIEWS).fit(features, target)
    assert np.array_equal(
        dull.conditioned(features, target).predict(features), fresh.predict(features)
    )


def test_a_matrix_that_rounding_made_indefinite_is_factored_all_the_same():
    twice = np.ones((2, 2)) - np.array([[0.0, 0.0], [0.0, 1e-12]])
    lower = np.tril(factored(twice))
    assert lower @ lower.T == pytest.approx(np.ones((2, 2)), abs=1e-5)
    with pytest.raises(np.linalg.LinAlgError, match="is not finite"):
        factored(np.full((2, 2), np.nan))


def test_what_predicts_better_has_the_weight_and_the_prediction():
    features, target = rows(40)
    others, truth = rows(200, seed=1)
    mixture = GPMixture(views=VIEWS).fit(features, target)
    settings = {k: v for k, v in mixture.get_params().items() if k != "views"}
    single = [GaussianProcess(views=[v], **settings).fit(features, target) for v in VIEWS]
    guesses = np.stack([model.predict(others) for model in single])
    assert mixture.weights_.sum() == pytest.approx(1.0)
    assert mixture.weights_[1] > 0.8
    assert mixture.predict(others) == pytest.approx(mixture.weights_ @ guesses)
    errors = [np.sqrt(np.mean((g - truth) ** 2)) for g in (*guesses, mixture.predict(others))]
    assert errors[2] < 0.6 * errors[0]


def test_the_spread_is_that_of_a_mixture():
    features, target = rows(25)
    others, _ = rows(6, seed=1)
    mixture = GPMixture(views=VIEWS).fit(features, target)
    mixture.weights_ = np.array([0.3, 0.7])
    mean, std = mixture.predict(others, return_std=True)
    drawn = mixture.sample(others, 20_000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.02)
    noise = [m.scale_**2 * np.exp(m.kernel_.noise) for m in mixture.members_]
    noise = mixture.stretch_**2 * (0.3 * noise[0] + 0.7 * noise[1])
    expected = np.sqrt(std**2 - noise)  # draws have none
    assert drawn.std(axis=0) == pytest.approx(expected, rel=0.1, abs=0.01)
    assert len(mixture.sample(others, 7, np.random.default_rng(0))) == 7
    assert len(mixture.sample(others, 0, np.random.default_rng(0))) == 0


@pytest.mark.parametrize("count", [60, 150])
def test_ninety_percent_intervals_hold_about_ninety_percent(count):
    held = []
    for seed in range(4):
        features, target = data(count, seed=seed)
        others, truth = data(400, seed=seed + 50)
        mean, std = GPMixture().fit(features, target).predict(others, return_std=True)
        held.append(np.mean(np.abs(mean - truth) < 1.645 * std))
    assert 0.8 <= np.mean(held) <= 0.97


def test_few_rows_and_constant_targets():
    features, _ = rows(5)
    mean, std = (
        GPMixture(views=VIEWS).fit(features, np.full(5, 3.0)).predict(features, return_std=True)
    )
    assert mean.tolist() == [3.0] * 5
    assert std.tolist() == [0.0] * 5
    one = GPMixture(views=VIEWS).fit(features[:1], [2.0])
    assert one.predict(features, return_std=True)[1].tolist() == [np.inf] * 5
