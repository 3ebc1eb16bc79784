"""Kernel ridge regression on all pairs of features, the penalty chosen by leaving one out.

The kernel (1 + <x, y> / n)² holds a weight for each feature and for each pair of them, with n the
mean squared length of the rows. For one-hot columns these are the options of the choices and their
interactions, without ever writing the pairs down. The errors of leaving one row out follow from
the fit to all rows in closed form (Rasmussen and Williams 2006, section 5.4.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from supple.predict._cross_validation import Array
from supple.predict._held_out import HeldOut

__all__ = ["PairwiseRidge"]

ALPHAS = tuple(float(a) for a in np.geomspace(1e-6, 10.0, 15))


class PairwiseRidge(HeldOut):
    """Ridge regression on features and their pairs.

    Args:
        alphas: Penalties to try.

    Attributes:
        alpha_: The chosen penalty.
        errors_: Mean squared error of leaving one out, for each penalty, of scaled targets.

    Example:
        >>> import numpy as np
        >>> from supple.predict import PairwiseRidge
        >>> rows = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
        >>> product = rows[:, 0] * rows[:, 1] + rows[:, 2]
        >>> found = PairwiseRidge(alphas=(1e-6,)).fit(rows, product).predict(rows)
        >>> bool(np.abs(found - product).max() < 0.01)
        True
    """

    def __init__(self, *, alphas: Sequence[float] = ALPHAS) -> None:
        self.alphas = alphas

    def _kernel(self, left: Array, right: Array) -> Array:
        found: Array = (1.0 + left @ right.T / self.length_) ** 2
        return found

    def _fit(self, features: Array, target: Array) -> Array:
        self.length_ = max(float((features**2).sum(axis=1).mean()), 1e-300)
        self.rows_ = features
        values, vectors = np.linalg.eigh(self._kernel(features, features))
        values = np.maximum(values, 0.0)
        turned = vectors.T @ target
        self.errors_: dict[float, float] = {}
        best: tuple[float, Array, Array] | None = None
        for alpha in self.alphas:
            shrunk = 1.0 / (values + alpha)
            weights = vectors @ (shrunk * turned)
            left: Array = -weights / ((vectors**2) @ shrunk)
            error = float(np.mean(left**2))
            self.errors_[float(alpha)] = error
            if best is None or error < best[0]:
                best = (error, weights, left)
                self.alpha_ = float(alpha)
        assert best is not None, "alphas is empty"
        self.weights_ = best[1]
        return best[2]

    def _predict(self, features: Array) -> tuple[Array, Array]:
        return self._kernel(features, self.rows_) @ self.weights_, np.zeros(len(features))
