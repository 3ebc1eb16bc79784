"""Several Gaussian processes, weighed by how well they predict rows that were left out.

Which encoding of configs fits, and whether all choices matter alike, differs from space to space
and as rows come in. Each view gets a process of its own; the weights are not negative, add up to
one and minimise the squared error of leaving one row out, which a Gaussian process gives in closed
form. Breiman 1996, "Stacked Regressions"; Rasmussen and Williams 2006, section 5.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from supple.predict._cross_validation import Array, convex_weights
from supple.predict._uncertain import Uncertain
from supple.predict.gaussian_process import GaussianProcess, Groups

__all__ = ["GPMixture"]

# Weights of groups are held back by their prior: they use up at most this share of the rows.
MOST_FITTED = 1 / 3


class GPMixture(Uncertain):
    """A weighted mean of Gaussian processes, one for each view.

    Args:
        views: Encodings, each a list of groups of columns; None is one view in which all columns
            are one group, and one in which each column is a group of its own.
        spread: As for ``GaussianProcess``.
        apart: As for ``GaussianProcess``.
        fit_rows: As for ``GaussianProcess``.
        steps: As for ``GaussianProcess``.
        seed: Seed of the choice of rows.

    Attributes:
        members_: The fitted processes.
        weights_: The weight of each, shape (views,).
        stretch_: What its standard deviations are multiplied by: rows that were left out were
            missed by more than they said, and the groups' weights were fitted to the same rows.

    Example:
        >>> import numpy as np
        >>> from supple.predict import GPMixture
        >>> rows = np.random.default_rng(0).random((30, 6))
        >>> model = GPMixture().fit(rows, np.sin(6 * rows[:, 0]))
        >>> bool(model.weights_[1] > 0.9)  # one column alone matters
        True
    """

    def __init__(
        self,
        *,
        views: Sequence[Groups] | None = None,
        spread: float = 1.5,
        apart: float = 0.7,
        fit_rows: int = 200,
        steps: int = 20,
        seed: int = 0,
    ) -> None:
        self.views = views
        self.spread = spread
        self.apart = apart
        self.fit_rows = fit_rows
        self.steps = steps
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit a process to each view, and weigh them.

        Args:
            X: Encoded configs, shape (N, D).
            y: What they measured, shape (N,).
        """
        features, target = validate_data(self, X, y, y_numeric=True, dtype=np.float64)
        width = features.shape[1]
        usual: list[list[list[int]]] = [[list(range(width))], [[i] for i in range(width)]]
        self.members_ = [
            GaussianProcess(
                views=[view],
                spread=self.spread,
                apart=self.apart,
                fit_rows=self.fit_rows,
                steps=self.steps,
                seed=self.seed,
            ).fit(features, target)
            for view in (self.views or usual)
        ]
        return self._weighed()

    def conditioned(self, X: ArrayLike, y: ArrayLike) -> Self:
        """The same mixture after other measurements: weighed again, settings as they were fitted.

        Args:
            X: Encoded configs, shape (N, D): all of them, those of the fit included.
            y: What they measured, shape (N,).

        Returns:
            Another mixture; fitted anew if all targets of the fit were alike.
        """
        check_is_fitted(self, "weights_")
        other = copy(self)
        other.members_ = [member.conditioned(X, y) for member in self.members_]
        return other._weighed()

    def _weighed(self) -> Self:
        """With the weights and the stretch that leaving rows out gives."""
        self.weights_ = np.full(len(self.members_), 1 / len(self.members_))
        self.stretch_ = 1.0
        posteriors = [m.posterior_ for m in self.members_ if m.posterior_ is not None]
        if posteriors:
            left_out = [posterior.left_out() for posterior in posteriors]
            means = np.stack([mean for mean, _ in left_out])
            scaled = posteriors[0].target
            self.weights_ = convex_weights(means.T, scaled)
            middle, variance = _mixed(self.weights_, means, np.stack([v for _, v in left_out]))
            off = float(np.mean((middle - scaled) ** 2 / variance))
            self.stretch_ = (max(off, 1.0) / self._freedom(len(scaled))) ** 0.5
        return self

    def _mean(self, features: Array) -> Array:
        heavy = self._heavy()
        weights = np.array([weight for weight, _ in heavy])
        found: Array = weights @ np.stack([member.predict(features) for _, member in heavy])
        return found

    def _mean_and_std(self, features: Array) -> tuple[Array, Array]:
        """The standard deviation is that of the members, and how far they lie apart."""
        heavy = self._heavy()
        parts = [member.predict(features, return_std=True) for _, member in heavy]
        means, stds = (np.stack(part) for part in zip(*parts, strict=True))
        middle, variance = _mixed(np.array([weight for weight, _ in heavy]), means, stds**2)
        return middle, self.stretch_ * np.sqrt(variance)

    def sample(self, X: ArrayLike, count: int, rng: np.random.Generator) -> Array:
        """Functions drawn from the members, from each as many as its weight says.

        Args:
            X: Encoded configs, shape (N, D).
            count: How many functions.
            rng: Where the randomness comes from.

        Returns:
            Values, shape (count, N).
        """
        features = self._checked(X)
        heavy = self._heavy()
        edges = np.cumsum([weight for weight, _ in heavy])
        # Evenly spaced places along the weights, from a random start.
        places = (np.arange(count) + rng.random()) / max(count, 1) * edges[-1]
        share = np.bincount(np.searchsorted(edges, places, side="right").clip(0, len(heavy) - 1))
        drawn = [m.sample(features, int(n), rng) for n, (_, m) in zip(share, heavy, strict=False)]
        found: Array = np.vstack([np.empty((0, len(features))), *drawn])
        if self.stretch_ == 1.0:
            return found
        middle = self.predict(features)
        return middle + self.stretch_ * (found - middle)

    def _freedom(self, rows: int) -> float:
        """The share of the rows that the fitted weights of groups leave free."""
        groups = [len(m.kernel_.groups) for m in self.members_ if m.kernel_ is not None]
        fitted = float(self.weights_ @ np.array(groups))
        return 1.0 - min(fitted / rows, MOST_FITTED)

    def _heavy(self) -> list[tuple[float, GaussianProcess]]:
        """The members that have any weight."""
        pairs = zip(self.weights_.tolist(), self.members_, strict=True)
        return [(weight, member) for weight, member in pairs if weight > 0]


def _mixed(weights: Array, means: Array, variances: Array) -> tuple[Array, Array]:
    """Mean and variance of a mixture whose members have these, shape (members, N)."""
    middle: Array = weights @ means
    variance: Array = weights @ (variances + (means - middle) ** 2)
    return middle, variance
