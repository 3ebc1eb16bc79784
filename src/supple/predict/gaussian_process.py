"""A Gaussian process for configs: what is likely between and beyond the measured ones.

The kernel is linear, plus its square, plus squared exponential: what choices add alone, in pairs,
and all the rest, with a weight for each group of columns, so that choices that matter little are
forgotten. On one-hot columns the last part is the exponential of the number of choices that differ,
the usual kernel of discrete spaces; on ordinal columns it is smooth along the order. Which of
several encodings fits is chosen by marginal likelihood.
Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapter 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from supple.predict._cross_validation import Array
from supple.predict._gp_math import Kernel, Posterior, fit_kernel
from supple.predict._uncertain import Uncertain

__all__ = ["GaussianProcess"]

Groups = Sequence[Sequence[int]]


class GaussianProcess(Uncertain):
    """A Gaussian process with a kernel for mixed discrete spaces.

    Its settings are those of the largest posterior density: the marginal likelihood times a
    prior under which few columns matter much. They are fitted to at most ``fit_rows`` rows, the
    prediction uses all.

    Args:
        views: Encodings to choose from, each a list of groups of columns that share their
            weights; None is one view in which all columns are one group.
        spread: Standard deviation of the prior over the logarithm of each setting, for what all
            groups share.
        apart: The same for what is each group's own: small keeps the groups alike.
        fit_rows: Most rows that the settings are fitted to.
        steps: Most steps of that fit.
        seed: Seed of the choice of rows.

    Attributes:
        view_: The number of the chosen view.
        kernel_: The fitted kernel.
        likelihoods_: The logarithm of the posterior density of each view.

    Example:
        >>> import numpy as np
        >>> from supple.predict import GaussianProcess
        >>> rows = np.linspace(0, 1, 12)[:, None]
        >>> model = GaussianProcess().fit(rows, np.sin(6 * rows[:, 0]))
        >>> mean, std = model.predict([[0.5], [3.0]], return_std=True)
        >>> bool(abs(mean[0] - np.sin(3)) < 0.05), bool(std[1] > 10 * std[0])
        (True, True)
    """

    def __init__(
        self,
        *,
        views: Sequence[Groups] | None = None,
        spread: float = 1.5,
        apart: float = 1.0,
        fit_rows: int = 250,
        steps: int = 40,
        seed: int = 0,
    ) -> None:
        self.views = views
        self.spread = spread
        self.apart = apart
        self.fit_rows = fit_rows
        self.steps = steps
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Choose a view and its settings, and condition on all rows.

        Args:
            X: Encoded configs, shape (N, D).
            y: What they measured, shape (N,).
        """
        features, target = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        views = self.views or [[list(range(features.shape[1]))]]
        self.rows_ = len(target)
        self.centre_ = features.mean(axis=0)
        self.mean_ = float(target.mean())
        self.scale_ = float(target.std())
        self.view_, self.kernel_, self.posterior_ = 0, None, None
        self.likelihoods_: list[float] = []
        if len(target) < 2 or self.scale_ <= 1e-12 * max(abs(self.mean_), 1e-300):
            self.scale_ = 0.0
            return self
        rows, values = features - self.centre_, (target - self.mean_) / self.scale_
        chosen = np.arange(len(values))
        if len(values) > self.fit_rows:
            rng = np.random.default_rng(self.seed)
            chosen = np.sort(rng.permutation(len(values))[: self.fit_rows])
        fitted = [
            fit_kernel(
                rows[chosen],
                values[chosen],
                _start(rows[chosen], view),
                spread=self.spread,
                apart=self.apart,
                steps=self.steps,
            )
            for view in views
        ]
        self.likelihoods_ = [value for _, value in fitted]
        self.view_ = int(np.argmax(self.likelihoods_))
        self.kernel_ = fitted[self.view_][0]
        self.posterior_ = Posterior(self.kernel_, rows, values)
        return self

    def conditioned(self, X: ArrayLike, y: ArrayLike) -> Self:
        """The same process after other measurements: settings as they were fitted, so cheap.

        Args:
            X: Encoded configs, shape (N, D): all of them, those of the fit included.
            y: What they measured, shape (N,).

        Returns:
            Another process; fitted anew if all targets of the fit were alike.
        """
        check_is_fitted(self, "centre_")
        if self.kernel_ is None:
            fresh: Self = clone(self).fit(X, y)
            return fresh
        features, target = validate_data(self, X, y, y_numeric=True, dtype=np.float64, reset=False)
        other = copy(self)
        other.rows_ = len(target)
        scaled = (target - self.mean_) / self.scale_
        other.posterior_ = Posterior(self.kernel_, features - self.centre_, scaled)
        return other

    def _mean(self, features: Array) -> Array:
        if self.posterior_ is None:
            return np.full(len(features), self.mean_)
        return self.mean_ + self.scale_ * self.posterior_.mean(features - self.centre_)

    def _mean_and_std(self, features: Array) -> tuple[Array, Array]:
        mean = self._mean(features)
        if self.posterior_ is None:
            return mean, np.full(len(features), np.inf if self.rows_ < 2 else 0.0)
        variance = self.posterior_.variance(features - self.centre_)
        return mean, self.scale_ * np.sqrt(variance + np.exp(self.posterior_.kernel.noise))

    def sample(self, X: ArrayLike, count: int, rng: np.random.Generator) -> Array:
        """Functions drawn from the posterior, at the given rows, without noise.

        Args:
            X: Encoded configs, shape (N, D).
            count: How many functions.
            rng: Where the randomness comes from.

        Returns:
            Values, shape (count, N).
        """
        features = self._checked(X) - self.centre_
        if self.posterior_ is None:
            return np.full((count, len(features)), self.mean_)
        root = root_of(self.posterior_.covariance(features))
        drawn = rng.standard_normal((count, len(features))) @ root.T
        found: Array = self.mean_ + self.scale_ * (self.posterior_.mean(features) + drawn)
        return found


def _start(rows: Array, groups: Groups) -> Kernel:
    """Where the fit starts: linear and smooth part alike, pairs half of that, distances about 1."""
    count = len(groups)
    spread = np.array([max(float(rows[:, list(g)].var(axis=0).sum()), 1e-6) for g in groups])
    return Kernel(
        groups=tuple(tuple(g) for g in groups),
        linear=-np.log(2.0 * count * spread),
        variance=float(np.log(0.5)),
        scales=-np.log(2.0 * count * spread),
        noise=float(np.log(0.01)),
        square=0.0,
    )


def root_of(covariance: Array) -> Array:
    """A matrix whose product with its transpose is the covariance, up to a little jitter."""
    scale = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    for jitter in (1e-8, 1e-6, 1e-4):
        try:
            jittered = covariance + jitter * scale * np.eye(len(covariance))
            lower: Array = np.asarray(np.linalg.cholesky(jittered), dtype=np.float64)
            return lower
        except np.linalg.LinAlgError:
            continue
    values, vectors = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
