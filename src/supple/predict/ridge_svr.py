"""RidgeSVR: ridge or support vector regression, whichever cross-validates better.

Two cheap regressors on one-hot configs are as good as heavy ones when rows are few. Both are
tried over a coarse grid in 5-fold cross-validation, and the smaller mean absolute percentage
error wins. Sarah et al. 2022, "A Hardware-Aware System for Accelerating Deep Neural Network
Optimization" (catalogue 76, LINAS).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from supple.papers import implements
from supple.predict._cross_validation import Array, folds, mape
from supple.predict._ridge import ridge_path
from supple.predict._svr import SupportVectors, fit_svr, rbf
from supple.predict._uncertain import Uncertain

__all__ = ["RidgeSVR"]

# The released code tries 100 values of alpha from 0.1 to 10 and 100 of C from 1 to 100. The error
# is flat between neighbours but, with noisy targets, often smallest at an end: so coarser, wider.
ALPHAS = tuple(float(a) for a in np.geomspace(0.01, 100.0, 13))
COSTS = tuple(float(c) for c in np.geomspace(0.1, 100.0, 7))

Model = tuple[Literal["ridge", "svr"], float]


@implements(76)
class RidgeSVR(Uncertain):
    """Ridge or RBF support vector regression, chosen by cross-validation.

    Works from one row on: constant targets are predicted as they are, and with fewer than
    two rows the prediction is the mean, of unknown (infinite) uncertainty.

    Args:
        models: Which to try.
        alphas: Penalties of ridge to try.
        costs: C of the support vector machine to try; its gamma is 1 / number of features.
        folds: Folds of the cross-validation; with fewer rows, each row is a fold.
        seed: Seed of the shuffle into folds.

    Attributes:
        model_: The chosen model and its setting, for instance ``("ridge", 0.52)``.
        error_: Its mean absolute percentage error in cross-validation, as a fraction.
        std_: Root mean square of its cross-validation residuals.
        errors_: The error of everything that was tried.

    Example:
        >>> import numpy as np
        >>> from supple.predict import RidgeSVR
        >>> from supple.space import Space, Width
        >>> space = Space({"a": Width(options=(8, 16)), "b": Width(options=(8, 16, 24))})
        >>> configs = list(space.configs())
        >>> sizes = [config["a"] + 2 * config["b"] for config in configs]
        >>> predictor = RidgeSVR().fit(space.encode(configs), sizes)
        >>> mean, std = predictor.predict(space.encode(configs), return_std=True)
        >>> bool(np.abs(mean - sizes).max() < 1)
        True
    """

    def __init__(
        self,
        *,
        models: Sequence[str] = ("ridge", "svr"),
        alphas: Sequence[float] = ALPHAS,
        costs: Sequence[float] = COSTS,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.models = models
        self.alphas = alphas
        self.costs = costs
        self.folds = folds
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Choose a model by cross-validation and fit it to all rows.

        Args:
            X: Encoded configs, shape (N, D).
            y: What they measured, shape (N,).
        """
        features, target = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        unknown = set(self.models) - {"ridge", "svr"}
        if unknown or not self.models or self.folds < 2:
            raise ValueError(
                f"models must be some of 'ridge' and 'svr' and folds at least 2, got "
                f"{self.models!r} and {self.folds!r}."
            )
        self.scale_ = _scale(target)
        scaled = target / self.scale_
        self.gamma_ = 1.0 / features.shape[1]
        self.coef_: Array | None = None
        self.machine_: SupportVectors | None = None
        self.intercept_ = float(scaled.mean())
        self.errors_: dict[Model, float] = {}
        self.model_: Model | None = None
        if len(scaled) < 2 or np.ptp(scaled) == 0.0:
            self.error_ = 0.0
            self.std_ = np.inf if len(scaled) < 2 else 0.0
            return self
        self._choose(features, scaled)
        self._fit_chosen(features, scaled)
        return self

    def _choose(self, features: Array, target: Array) -> None:
        candidates: list[Model] = []
        if "ridge" in self.models:
            candidates += [("ridge", float(alpha)) for alpha in self.alphas]
        if "svr" in self.models:
            candidates += [("svr", float(cost)) for cost in self.costs]
        held_out = np.empty((len(target), len(candidates)))
        for fit, score in folds(len(target), self.folds, self.seed):
            held_out[score] = self._predictions(features, target, fit, score)
        errors = mape(target, held_out)
        best = int(np.argmin(errors))
        self.errors_ = dict(zip(candidates, errors.tolist(), strict=True))
        self.model_, self.error_ = candidates[best], float(errors[best])
        residuals = held_out[:, best] - target
        self.std_ = float(np.sqrt(np.mean(residuals**2)) * self.scale_)

    def _predictions(self, features: Array, target: Array, fit: Any, score: Any) -> Array:
        """What every candidate fitted on some rows predicts for others, one column each."""
        columns = []
        if "ridge" in self.models:
            alphas = np.asarray(self.alphas, dtype=np.float64)
            weights, intercepts = ridge_path(features[fit], target[fit], alphas)
            columns.append(features[score] @ weights + intercepts)
        if "svr" in self.models:
            kernel = rbf(features[fit], features[fit], self.gamma_)
            for cost in self.costs:
                machine = fit_svr(features[fit], target[fit], cost, self.gamma_, kernel)
                columns.append(machine.predict(features[score])[:, None])
        return np.hstack(columns)

    def _fit_chosen(self, features: Array, target: Array) -> None:
        assert self.model_ is not None
        kind, setting = self.model_
        if kind == "svr":
            self.machine_ = fit_svr(features, target, setting, self.gamma_)
            return
        weights, intercepts = ridge_path(features, target, np.array([setting]))
        self.coef_, self.intercept_ = weights[:, 0], float(intercepts[0])

    def _mean(self, features: Array) -> Array:
        if self.machine_ is not None:
            predicted = self.machine_.predict(features)
        elif self.coef_ is not None:
            predicted = features @ self.coef_ + self.intercept_
        else:
            predicted = np.full(len(features), self.intercept_)
        return predicted * self.scale_

    def _mean_and_std(self, features: Array) -> tuple[Array, Array]:
        """The error to be expected is that of held-out rows, the same for every config."""
        return self._mean(features), np.full(len(features), self.std_)


def _scale(target: Array) -> float:
    """The power of ten that brings the largest target into [10, 100), where C is meant to be."""
    largest = float(np.max(np.abs(target)))
    return float(10.0 ** (np.floor(np.log10(largest)) - 1.0)) if largest > 0 else 1.0
