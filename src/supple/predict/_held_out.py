"""Regressors whose uncertainty is that of rows they were not fitted to."""

from __future__ import annotations

import abc
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from supple.predict._cross_validation import Array, folds
from supple.predict._uncertain import Uncertain

__all__ = ["FoldEnsemble", "HeldOut"]


class HeldOut(Uncertain):
    """Base: constant targets and single rows are handled, all else is scaled to variance 1.

    A subclass fits scaled targets in ``_fit`` and returns the residuals of held-out rows, and
    predicts mean and spread (beyond those residuals) in ``_predict``.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit to encoded configs, shape (N, D), and what they measured, shape (N,)."""
        features, target = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        self.mean_, self.scale_ = float(target.mean()), float(target.std())
        self.residual_ = np.inf if len(target) < 2 else 0.0
        self.is_constant_ = self.scale_ <= 1e-12 * max(abs(self.mean_), 1e-300)
        if not self.is_constant_:
            left = self._fit(features, (target - self.mean_) / self.scale_)
            self.residual_ = float(np.sqrt(np.mean(left**2)))
        return self

    @abc.abstractmethod
    def _fit(self, features: Array, target: Array) -> Array:
        """Fit; the errors on rows that were held out."""

    @abc.abstractmethod
    def _predict(self, features: Array) -> tuple[Array, Array]:
        """The mean, and how far the opinions on it lie apart."""

    def _mean(self, features: Array) -> Array:
        return self._mean_and_std(features)[0]

    def _mean_and_std(self, features: Array) -> tuple[Array, Array]:
        if self.is_constant_:
            return np.full(len(features), self.mean_), np.full(len(features), self.residual_)
        scaled, spread = self._predict(features)
        mean = self.mean_ + self.scale_ * scaled
        return mean, self.scale_ * np.sqrt(self.residual_**2 + spread**2)


class FoldEnsemble(HeldOut):
    """One member per fold, fitted to the others: their mean, and residuals for nothing.

    A subclass has ``folds`` and ``seed`` and makes members in ``_member``.
    """

    folds: int
    seed: int

    @abc.abstractmethod
    def _member(self, number: int, rows: int) -> Any:
        """An unfitted regressor for so many rows."""

    def _fit(self, features: Array, target: Array) -> Array:
        self.members_: list[Any] = []
        left = np.zeros(len(target))
        for number, (fit, score) in enumerate(folds(len(target), self.folds, self.seed)):
            member = self._member(number, len(fit)).fit(features[fit], target[fit])
            left[score] = member.predict(features[score]) - target[score]
            self.members_.append(member)
        return left

    def _predict(self, features: Array) -> tuple[Array, Array]:
        opinions = np.stack([member.predict(features) for member in self.members_])
        # The residuals are those of single members already, so their spread is not added again:
        # only what it exceeds the usual by.
        spread = opinions.std(axis=0)
        return opinions.mean(axis=0), np.maximum(spread - self.residual_, 0.0)
