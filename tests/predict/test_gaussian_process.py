"""GaussianProcess against scikit-learn's and against slopes by differences."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from supple.predict import GaussianProcess
from supple.predict._gp_math import JITTER, Kernel, Posterior, _Parts
from supple.predict.gaussian_process import root_of
from tests.predict.test_ridge_svr import data


def kernel():
    linear, scales = np.log([0.3, 0.3]), np.log([2.0, 2.0])
    return Kernel(((0, 1), (2,)), linear, np.log(0.7), scales, np.log(0.05), np.log(0.4))


def plain():
    """The same kernel as scikit-learn writes it."""
    linear = ConstantKernel(0.3) * DotProduct(sigma_0=1e-9)
    smooth = ConstantKernel(0.7) * RBF(2.0**-0.5)
    return linear + ConstantKernel(0.4) * linear**2 + smooth + WhiteKernel(0.05 + JITTER)


def rows(count, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3))
    return features, np.sin(features[:, 0]) + 0.5 * features[:, 1] + 0.1 * rng.normal(size=count)


def test_the_posterior_is_that_of_scikit_learn():
    features, target = rows(30)
    others, _ = rows(12, seed=1)
    theirs = GaussianProcessRegressor(plain(), optimizer=None, alpha=0.0).fit(features, target)
    mean, covariance = theirs.predict(others, return_cov=True)
    ours = Posterior(kernel(), features, target)
    assert ours.mean(others) == pytest.approx(mean, abs=1e-8)
    noise = (0.05 + JITTER) * np.eye(12)
    assert ours.covariance(others) == pytest.approx(covariance - noise, abs=1e-8)
    assert ours.variance(others) == pytest.approx(np.diag(covariance - noise), abs=1e-8)


def test_the_likelihood_is_that_of_scikit_learn_and_its_slope_that_of_differences():
    features, target = rows(25)
    parts = _Parts(features, kernel().groups)
    value, slope = parts.likelihood(kernel(), target)
    theirs = GaussianProcessRegressor(plain(), optimizer=None, alpha=0.0).fit(features, target)
    assert value == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-7)

    def only_value(theta):
        return parts.likelihood(kernel().with_theta(theta), target)[0]

    numeric = approx_fprime(kernel().theta, only_value, 1e-6)
    assert slope == pytest.approx(numeric, abs=1e-3)


def test_draws_have_the_mean_and_the_covariance_of_the_posterior():
    features, target = rows(20)
    others, _ = rows(5, seed=2)
    model = GaussianProcess().fit(features, target)
    drawn = model.sample(others, 40_000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(model.predict(others), abs=0.02)
    exact = model.scale_**2 * model.posterior_.covariance(others - model.centre_)
    assert np.cov(drawn.T) == pytest.approx(exact, abs=0.02)


def test_the_encoding_that_fits_is_chosen_by_likelihood():
    rng = np.random.default_rng(0)
    genes = rng.integers(0, 6, (60, 4))
    onehot = np.eye(6)[genes].reshape(60, -1)
    both = np.hstack([onehot, genes / 5])
    views = [[list(range(24))], [list(range(24, 28))]]
    ordered = GaussianProcess(views=views).fit(both, genes @ [1.0, 2.0, 0.5, 1.0])
    assert ordered.view_ == 1
    shuffled = rng.normal(size=(4, 6))
    jumps = shuffled[np.arange(4), genes].sum(axis=1)
    assert GaussianProcess(views=views).fit(both, jumps).view_ == 0


def test_it_is_less_sure_far_away_and_only_noise_is_left_where_it_was_measured():
    features, target = data(60)
    model = GaussianProcess().fit(features, target)
    near = model.predict(features, return_std=True)[1]
    far = model.predict(3.0 * features, return_std=True)[1]
    assert far.min() > near.max()


def test_settings_are_fitted_to_few_rows_and_the_prediction_uses_all():
    features, target = data(120)
    model = GaussianProcess(fit_rows=40).fit(features, target)
    assert model.predict(features) == pytest.approx(target, abs=0.01)
    assert len(model.posterior_.rows) == 120


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_the_root_of_a_covariance_survives_one_that_is_not_definite(scale):
    rank_one = scale * np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    root = root_of(rank_one)
    assert root @ root.T == pytest.approx(rank_one, abs=1e-3)
