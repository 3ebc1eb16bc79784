"""Support vector regression with an RBF kernel, its kernel computed once for many costs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVR

from supple.predict._cross_validation import Array

__all__ = ["SupportVectors", "fit_svr", "rbf"]

MAX_ITERATIONS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SupportVectors:
    """A fitted machine: ``sum_i weight_i exp(-gamma |x - row_i|²) + intercept``."""

    rows: Array
    weights: Array
    intercept: float
    gamma: float

    def predict(self, features: Array) -> Array:
        """The prediction for each row of features."""
        predicted: Array = rbf(features, self.rows, self.gamma) @ self.weights + self.intercept
        return predicted


def rbf(left: Array, right: Array, gamma: float) -> Array:
    """exp(-gamma |x - y|²) for all pairs of rows."""
    squared = (
        np.sum(left**2, axis=1)[:, None] + np.sum(right**2, axis=1)[None, :] - 2.0 * left @ right.T
    )
    kernel: Array = np.exp(-gamma * np.maximum(squared, 0.0))
    return kernel


def fit_svr(
    features: Array, target: Array, cost: float, gamma: float, kernel: Array | None = None
) -> SupportVectors:
    """Epsilon-insensitive regression with epsilon 0.

    Args:
        features: Rows to fit on.
        target: What they measured.
        cost: C, the weight of errors against smoothness.
        gamma: Width of the kernel.
        kernel: ``rbf(features, features, gamma)`` if it is known already.
    """
    gram = rbf(features, features, gamma) if kernel is None else kernel
    machine = SVR(kernel="precomputed", C=cost, epsilon=0.0, max_iter=MAX_ITERATIONS)
    machine.random_state = 0  # not used with epsilon, but drawn from NumPy's global seed if None
    with warnings.catch_warnings():
        # A fit stopped early is judged by cross-validation like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(gram, target)
    return SupportVectors(
        rows=features[machine.support_],
        weights=np.asarray(machine.dual_coef_[0], dtype=np.float64),
        intercept=float(machine.intercept_[0]),
        gamma=gamma,
    )
