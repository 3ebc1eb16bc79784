"""PairwiseRidge against scikit-learn on the pairs written out, and leaving one out by hand."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from supple.predict import PairwiseRidge
from tests.predict.test_ridge_svr import data


def test_it_is_kernel_ridge_with_a_polynomial_kernel():
    features, target = data(40)
    others, _ = data(15, seed=1)
    ours = PairwiseRidge(alphas=(0.1,)).fit(features, target)
    scaled = (target - target.mean()) / target.std()
    length = (features**2).sum(axis=1).mean()
    theirs = KernelRidge(alpha=0.1, kernel="poly", degree=2, gamma=1 / length, coef0=1.0)
    expected = theirs.fit(features, scaled).predict(others) * target.std() + target.mean()
    assert ours.predict(others) == pytest.approx(expected, abs=1e-8)


def test_leaving_one_out_is_what_fitting_without_that_row_gives():
    features, target = data(15)
    ours = PairwiseRidge(alphas=(0.05,)).fit(features, target)
    scaled = (target - target.mean()) / target.std()
    length = (features**2).sum(axis=1).mean()
    left = []
    for row in range(15):
        kept = np.arange(15) != row
        plain = KernelRidge(alpha=0.05, kernel="poly", degree=2, gamma=1 / length, coef0=1.0)
        plain.fit(features[kept], scaled[kept])
        left.append(plain.predict(features[[row]])[0] - scaled[row])
    assert ours.errors_[0.05] == pytest.approx(np.mean(np.square(left)))
    assert ours.residual_ == pytest.approx(np.sqrt(np.mean(np.square(left))))


def test_it_finds_interactions_that_addition_cannot():
    features, _ = data(150)
    others, _ = data(50, seed=1)

    def product(rows):
        return rows[:, 0] * rows[:, 5] - rows[:, 2] * rows[:, 7]

    features, others = features[:, :12], others[:, :12]  # three choices
    model = PairwiseRidge().fit(features, product(features))
    assert np.corrcoef(model.predict(others), product(others))[0, 1] > 0.9
    assert model.errors_[model.alpha_] == min(model.errors_.values())
