"""Gradient-boosted training of a network: a few units at a time (1909.12098).

S. Emami, G. Martinez-Munoz, "Sequential Training of Neural Networks with Gradient Boosting", IEEE
Access 11, 2023. A small network is fitted to the residuals of those before it, scaled by a Newton
step and added; all of them together are one network with one hidden layer. Its units are in the
order they were learned in, so any first ones of them are a network too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.neural_network import MLPRegressor
from sklearn.utils.validation import check_is_fitted
from torch import nn

from supple.errors import CompressError
from supple.papers import implements

__all__ = ["BoostedMLPClassifier", "BoostedMLPRegressor"]

_ACTIVATIONS = {"logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class _Boosted(BaseEstimator):  # type: ignore[misc]
    """The sum of small networks; subclasses say what its loss is."""

    def __init__(
        self,
        n_units: int = 200,
        *,
        units_per_step: int = 1,
        learning_rate: float = 1.0,
        subsample: float = 0.5,
        activation: Literal["logistic", "tanh", "relu"] = "logistic",
        max_iter: int = 200,
        random_state: int = 0,
    ) -> None:
        self.n_units = n_units
        self.units_per_step = units_per_step
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.activation = activation
        self.max_iter = max_iter
        self.random_state = random_state

    def _check(self) -> None:
        steps = self.units_per_step
        if steps < 1 or self.n_units < steps or not 0 < self.subsample <= 1:
            raise CompressError(
                f"boosting got n_units={self.n_units}, units_per_step={steps}, "
                f"subsample={self.subsample}.",
                hint="one unit per step or more, at least as many in all, a subsample above 0.",
            )
        if self.learning_rate <= 0 or self.activation not in _ACTIVATIONS:
            raise CompressError(
                f"boosting got learning_rate={self.learning_rate}, activation={self.activation!r}.",
                hint="a learning rate above 0; logistic, tanh or relu.",
            )

    def _boost(self, x: np.ndarray, target: np.ndarray, start: np.ndarray) -> None:
        """Adds small networks; ``start`` is the constant that all begins with."""
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        self._check()
        rng = np.random.default_rng(self.random_state)
        self.start_ = start
        self.steps_: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        scores = np.broadcast_to(start, (len(x), len(start))).copy()
        count = max(1, round(self.subsample * len(x)))
        for _ in range(self.n_units // self.units_per_step):
            residual = self._residual(scores, target)
            picked = rng.choice(len(x), size=count, replace=False)
            small = MLPRegressor(
                hidden_layer_sizes=(self.units_per_step,), activation=self.activation,
                solver="lbfgs", tol=0.0, max_iter=self.max_iter, alpha=0.0,
                random_state=int(rng.integers(2**31)),
            )  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                small.fit(x[picked], residual[picked].squeeze(-1) if residual.shape[1] == 1
                          else residual[picked])  # fmt: skip
            change = small.predict(x).reshape(len(x), -1)
            step = self.learning_rate * self._newton(change, scores, target)
            scores = scores + step * change
            self.steps_.append(
                (small.coefs_[0], small.intercepts_[0], step * small.coefs_[1],
                 step * small.intercepts_[1])
            )  # fmt: skip

    def _residual(self, scores: np.ndarray, target: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _newton(self, change: np.ndarray, scores: np.ndarray, target: np.ndarray) -> float:
        raise NotImplementedError

    def _staged(self, x: Any) -> Iterator[np.ndarray]:
        """The scores after each step."""
        check_is_fitted(self)
        x = np.asarray(x, dtype=np.float64)
        scores = np.broadcast_to(self.start_, (len(x), len(self.start_))).copy()
        for w_in, b_in, w_out, b_out in self.steps_:
            scores = scores + _activated(x @ w_in + b_in, self.activation) @ w_out + b_out
            yield scores

    def _scores(self, x: Any) -> np.ndarray:
        *_, last = self._staged(x)
        return last

    def to_module(self, n_steps: int | None = None) -> nn.Sequential:
        """The first steps (all by default) as one network with one hidden layer.

        Args:
            n_steps: How many; each has ``units_per_step`` units.

        Returns:
            A float32 module that gives the scores: class scores, for two classes one score whose
            sigmoid is the probability, or values.
        """
        check_is_fitted(self)
        steps = self.steps_[: len(self.steps_) if n_steps is None else n_steps]
        if not steps:
            raise CompressError("a network of no steps was asked for.", hint="n_steps from 1 up.")
        factor = self._score_factor()
        w_in = np.concatenate([s[0] for s in steps], 1).T
        w_out = np.concatenate([s[2] for s in steps], 0).T * factor
        bias = (self.start_ + sum(s[3] for s in steps)) * factor
        hidden = nn.Linear(w_in.shape[1], w_in.shape[0])
        output = nn.Linear(w_out.shape[1], w_out.shape[0])
        with torch.no_grad():
            hidden.weight.copy_(torch.from_numpy(w_in))
            hidden.bias.copy_(torch.from_numpy(np.concatenate([s[1] for s in steps])))
            output.weight.copy_(torch.from_numpy(w_out))
            output.bias.copy_(torch.from_numpy(bias))
        return nn.Sequential(hidden, _ACTIVATIONS[self.activation](), output)

    def _score_factor(self) -> float:
        return 1.0


def _activated(x: np.ndarray, name: str) -> np.ndarray:
    if name == "logistic":
        return np.asarray(0.5 * (1 + np.tanh(x / 2)))
    return np.asarray(np.tanh(x)) if name == "tanh" else np.maximum(x, 0)


@implements(51)
class BoostedMLPRegressor(RegressorMixin, _Boosted):  # type: ignore[misc]
    """A network with one hidden layer for values, trained a few units at a time.

    Args:
        n_units: Hidden units in all.
        units_per_step: Units of one small network.
        learning_rate: Share of each Newton step that is made.
        subsample: Share of the examples that a small network is fitted to.
        activation: ``logistic``, ``tanh`` or ``relu``.
        max_iter: Steps of L-BFGS for a small network.
        random_state: Of the subsamples and first weights.

    Example:
        >>> import numpy as np
        >>> from supple.compress.join import BoostedMLPRegressor
        >>> x = np.linspace(-1, 1, 60)[:, None]
        >>> model = BoostedMLPRegressor(n_units=6, subsample=1.0).fit(x, np.sin(3 * x[:, 0]))
        >>> bool(model.score(x, np.sin(3 * x[:, 0])) > 0.95), model.to_module(2)[0].out_features
        (True, 2)
    """

    def fit(self, x: Any, y: Any) -> Self:
        """Fits to examples (rows of x) and their values."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        target = y.reshape(len(y), -1)
        self.n_features_in_ = x.shape[1]
        self.is_flat_ = y.ndim == 1
        self._boost(x, target, target.mean(0))
        return self

    def predict(self, x: Any) -> np.ndarray:
        """The values."""
        return self._shaped(self._scores(x))

    def staged_predict(self, x: Any) -> Iterator[np.ndarray]:
        """The values after each step."""
        return (self._shaped(scores) for scores in self._staged(x))

    def _shaped(self, scores: np.ndarray) -> np.ndarray:
        return np.asarray(scores[:, 0] if self.is_flat_ else scores)

    def _residual(self, scores: np.ndarray, target: np.ndarray) -> np.ndarray:
        return np.asarray(target - scores)

    def _newton(self, change: np.ndarray, scores: np.ndarray, target: np.ndarray) -> float:
        return 1.0


@implements(51)
class BoostedMLPClassifier(ClassifierMixin, _Boosted):  # type: ignore[misc]
    """A network with one hidden layer for classes, trained a few units at a time.

    Args:
        n_units: Hidden units in all.
        units_per_step: Units of one small network.
        learning_rate: Share of each Newton step that is made.
        subsample: Share of the examples that a small network is fitted to.
        activation: ``logistic``, ``tanh`` or ``relu``.
        max_iter: Steps of L-BFGS for a small network.
        random_state: Of the subsamples and first weights.
        step: For more than two classes: ``diag`` leaves the cross terms of the Hessian out, as the
            paper does; ``exact`` is Newton's step for the one factor.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from supple.compress.join import BoostedMLPClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> model = BoostedMLPClassifier(n_units=10, units_per_step=2).fit(x, y)
        >>> bool(model.score(x, y) > 0.9)
        True
    """

    def __init__(
        self,
        n_units: int = 200,
        *,
        units_per_step: int = 1,
        learning_rate: float = 1.0,
        subsample: float = 0.5,
        activation: Literal["logistic", "tanh", "relu"] = "logistic",
        max_iter: int = 200,
        random_state: int = 0,
        step: Literal["diag", "exact"] = "diag",
    ) -> None:
        super().__init__(
            n_units, units_per_step=units_per_step, learning_rate=learning_rate,
            subsample=subsample, activation=activation, max_iter=max_iter,
            random_state=random_state,
        )  # fmt: skip
        self.step = step

    def fit(self, x: Any, y: Any) -> Self:
        """Fits to examples (rows of x) and their classes."""
        x = np.asarray(x, dtype=np.float64)
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        self.n_features_in_ = x.shape[1]
        if self.step not in ("diag", "exact"):
            raise CompressError(f"boosting got step={self.step!r}.", hint='"diag" or "exact".')
        if len(self.classes_) < 2:
            raise CompressError("boosting got examples of one class.", hint="two classes or more.")
        if len(self.classes_) == 2:
            signs = 2.0 * numbers[:, None] - 1
            mean = float(signs.mean())
            self._boost(x, signs, np.array([0.5 * math.log((1 + mean) / (1 - mean))]))
        else:
            self._boost(x, np.eye(len(self.classes_))[numbers], np.zeros(len(self.classes_)))
        return self

    def predict(self, x: Any) -> np.ndarray:
        """The classes."""
        return self._named(self._scores(x))

    def staged_predict(self, x: Any) -> Iterator[np.ndarray]:
        """The classes after each step."""
        return (self._named(scores) for scores in self._staged(x))

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities, shape (examples, classes)."""
        scores = self._scores(x)
        if scores.shape[1] == 1:
            one = 0.5 * (1 + np.tanh(scores))
            return np.concatenate([1 - one, one], 1)
        return _softmax(scores)

    def _named(self, scores: np.ndarray) -> np.ndarray:
        binary = scores.shape[1] == 1
        places = (scores[:, 0] > 0).astype(int) if binary else scores.argmax(1)
        return np.asarray(self.classes_[places])

    def _score_factor(self) -> float:
        # Two classes: F is half the log-odds, a sigmoid wants all of it.
        return 2.0 if len(self.classes_) == 2 else 1.0

    def _residual(self, scores: np.ndarray, target: np.ndarray) -> np.ndarray:
        if scores.shape[1] == 1:
            # 2y / (1 + exp(2yF)), without overflow.
            return np.asarray(target * (1 - np.tanh(target * scores)))
        return np.asarray(target - _softmax(scores))

    def _newton(self, change: np.ndarray, scores: np.ndarray, target: np.ndarray) -> float:
        residual = self._residual(scores, target)
        slope = float((residual * change).sum())
        if scores.shape[1] == 1:
            curve = float((change**2 * residual * (2 * target - residual)).sum())
        else:
            p = _softmax(scores)
            curve = float((change**2 * p * (1 - p)).sum())
            if self.step == "exact":
                curve = float(((change**2 * p).sum(1) - (change * p).sum(1) ** 2).sum())
        return slope / curve if curve > 1e-12 else 0.0


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
