"""An ensemble of small neural networks, one per fold.

They agree near what was measured and drift apart elsewhere, which is a warning. Lakshminarayanan,
Pritzel, Blundell 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep
Ensembles" (arXiv 1612.01474), here with squared loss and a fold held out of each member.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from supple.predict._cross_validation import Array
from supple.predict._held_out import FoldEnsemble

__all__ = ["NetworkEnsemble"]


class NetworkEnsemble(FoldEnsemble):
    """Small networks with two hidden layers, fitted with L-BFGS.

    Args:
        hidden: Width of each of the two hidden layers.
        penalty: Weight of the squared length of the weights.
        steps: Most steps of the optimiser.
        folds: Networks; each is fitted to all folds but one.
        seed: Seed of folds and first weights.

    Example:
        >>> import numpy as np
        >>> from supple.predict import NetworkEnsemble
        >>> rows = np.linspace(-1, 1, 40)[:, None]
        >>> model = NetworkEnsemble().fit(rows, rows[:, 0] ** 2)
        >>> bool(abs(model.predict([[0.5]])[0] - 0.25) < 0.1)
        True
    """

    def __init__(
        self,
        *,
        hidden: int = 32,
        penalty: float = 1.0,
        steps: int = 200,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.penalty = penalty
        self.steps = steps
        self.folds = folds
        self.seed = seed

    def _member(self, number: int, rows: int) -> Any:
        return _Quiet(
            hidden_layer_sizes=(self.hidden, self.hidden),
            alpha=self.penalty,
            solver="lbfgs",
            max_iter=self.steps,
            random_state=self.seed + number,
        )

    def _fit(self, features: Array, target: Array) -> Array:
        self.low_ = features.mean(axis=0)
        spread = features.std(axis=0)
        self.span_ = np.where(spread > 0, spread, 1.0)
        return super()._fit((features - self.low_) / self.span_, target)

    def _predict(self, features: Array) -> tuple[Array, Array]:
        return super()._predict((features - self.low_) / self.span_)


class _Quiet(MLPRegressor):  # type: ignore[misc]
    """A network whose early stop is no news: held-out rows judge it."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit as MLPRegressor does."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(X, y)
        return self
