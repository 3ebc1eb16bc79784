"""Stacking: several predictors, each with the weight that held-out rows give it.

No predictor is the best on every space, and which one is changes as rows come in. The weights
are not negative, add up to one, and minimise the squared error of predictions for rows that were
held out. Wolpert 1992; Breiman 1996, "Stacked Regressions".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from supple.predict._cross_validation import Array, convex_weights, folds
from supple.predict._held_out import HeldOut
from supple.predict.boosted_trees import BoostedTrees
from supple.predict.gaussian_process import GaussianProcess
from supple.predict.kernel_ridge import PairwiseRidge
from supple.predict.ridge_svr import RidgeSVR

__all__ = ["Stacked"]


def _usual() -> dict[str, Any]:
    return {
        "gaussian_process": GaussianProcess(),
        "pairwise_ridge": PairwiseRidge(),
        "ridge_svr": RidgeSVR(),
        "boosted_trees": BoostedTrees(trees=80, folds=3),
    }


class Stacked(HeldOut):
    """A weighted mean of predictors.

    Args:
        predictors: Unfitted regressors by name; None takes a Gaussian process, pairwise ridge,
            ridge or SVR, and boosted trees.
        folds: Folds of the cross-validation.
        seed: Seed of the folds.

    Attributes:
        weights_: The weight of each predictor.
        errors_: The root mean square error of each on held-out rows.

    Example:
        >>> import numpy as np
        >>> from supple.predict import Stacked
        >>> rows = np.random.default_rng(0).random((40, 3))
        >>> model = Stacked().fit(rows, rows @ [1.0, 2.0, 3.0])
        >>> round(sum(model.weights_.values()), 6)
        1.0
        >>> bool(abs(model.predict([[0.5, 0.5, 0.5]])[0] - 3.0) < 0.1)
        True
    """

    def __init__(
        self, *, predictors: Mapping[str, Any] | None = None, folds: int = 5, seed: int = 0
    ) -> None:
        self.predictors = predictors
        self.folds = folds
        self.seed = seed

    def _fit(self, features: Array, target: Array) -> Array:
        made = dict(self.predictors) if self.predictors is not None else _usual()
        held_out = np.zeros((len(target), len(made)))
        for fit, score in folds(len(target), self.folds, self.seed):
            for place, predictor in enumerate(made.values()):
                fitted = clone(predictor).fit(features[fit], target[fit])
                held_out[score, place] = fitted.predict(features[score])
        weights = convex_weights(held_out, target)
        errors = np.sqrt(np.mean((held_out - target[:, None]) ** 2, axis=0))
        self.weights_ = dict(zip(made, weights.tolist(), strict=True))
        self.errors_ = dict(zip(made, (errors * self.scale_).tolist(), strict=True))
        # Those without weight need not be fitted.
        self.members_ = [
            (weight, clone(predictor).fit(features, target))
            for weight, predictor in zip(weights.tolist(), made.values(), strict=True)
            if weight > 0
        ]
        left: Array = held_out @ weights - target
        return left

    def _predict(self, features: Array) -> tuple[Array, Array]:
        mean = sum(weight * member.predict(features) for weight, member in self.members_)
        return np.asarray(mean, dtype=np.float64), np.zeros(len(features))
