"""What all regressors with an uncertainty share: how they are asked."""

from __future__ import annotations

import abc
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from supple.predict._cross_validation import Array

__all__ = ["Uncertain"]


class Uncertain(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Base: the prediction and, on demand, the standard deviation of a measurement.

    A subclass says what rows that were checked give in ``_mean`` and ``_mean_and_std``.
    """

    @abc.abstractmethod
    def _mean(self, features: Array) -> Array:
        """The prediction for each row."""

    @abc.abstractmethod
    def _mean_and_std(self, features: Array) -> tuple[Array, Array]:
        """The prediction for each row, and the standard deviation of its error."""

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = ...) -> Array: ...
    @overload
    def predict(self, X: ArrayLike, return_std: Literal[True]) -> tuple[Array, Array]: ...
    def predict(self, X: ArrayLike, return_std: bool = False) -> Array | tuple[Array, Array]:
        """The prediction for each row.

        Args:
            X: Encoded configs, shape (N, D).
            return_std: Also give the standard deviation of the error to be expected, noise
                included; infinite where fewer than two rows were measured.
        """
        features = self._checked(X)
        return self._mean_and_std(features) if return_std else self._mean(features)

    def _checked(self, X: ArrayLike) -> Array:
        """Rows of the width that was fitted."""
        check_is_fitted(self)
        features: Array = validate_data(self, X, reset=False, dtype=np.float64)
        return features
