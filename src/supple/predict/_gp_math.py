"""The marginal likelihood of a Gaussian process and its slope, for a kernel of a few parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from supple.predict._cross_validation import Array

__all__ = ["Kernel", "Posterior", "fit_kernel"]

# What is added to the diagonal if rounding makes a matrix indefinite.
JITTER = 1e-8
# Logarithms of settings stay within these bounds: targets have variance 1, columns span about 1.
LOWEST, HIGHEST = -14.0, 8.0
# How many standard deviations of its prior a setting may move.
FARTHEST = 5.0


@dataclass(frozen=True)
class Kernel:
    """k(x, y) = sum_g a_g <x, y>_g + v exp(-sum_g s_g |x - y|²_g / 2), with noise n on top.

    Each g is a group of columns: all columns of one choice, or of one feature.

    Args:
        groups: The columns of each group.
        linear: The logarithm of a for each group.
        variance: The logarithm of v.
        scales: The logarithm of s for each group.
        noise: The logarithm of n.
    """

    groups: tuple[tuple[int, ...], ...]
    linear: Array
    variance: float
    scales: Array
    noise: float

    @property
    def theta(self) -> Array:
        """All logarithms in a row."""
        return np.concatenate([self.linear, [self.variance], self.scales, [self.noise]])

    def with_theta(self, theta: Array) -> Kernel:
        """The kernel with these logarithms."""
        count = len(self.groups)
        return Kernel(
            self.groups,
            theta[:count],
            float(theta[count]),
            theta[count + 1 : 2 * count + 1],
            float(theta[-1]),
        )

    def _weights(self, logs: Array, width: int) -> Array:
        weights = np.zeros(width)
        for group, log in zip(self.groups, logs, strict=True):
            weights[list(group)] = np.exp(log)
        return weights

    def __call__(self, left: Array, right: Array) -> Array:
        """The kernel for all pairs of rows, without noise."""
        linear = self._weights(self.linear, left.shape[1])
        scaled = np.sqrt(self._weights(self.scales, left.shape[1]))
        found: Array = (left * linear) @ right.T
        return found + np.exp(self.variance - 0.5 * _squared(left * scaled, right * scaled))

    def diagonal(self, rows: Array) -> Array:
        """k(x, x) of each row."""
        linear = self._weights(self.linear, rows.shape[1])
        found: Array = (rows**2) @ linear + np.exp(self.variance)
        return found


def _squared(left: Array, right: Array) -> Array:
    found = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2.0 * left @ right.T
    clipped: Array = np.maximum(found, 0.0)
    return clipped


def fit_kernel(
    rows: Array, target: Array, start: Kernel, *, spread: float, apart: float, steps: int
) -> tuple[Kernel, float]:
    """The kernel of the largest posterior density, and the logarithm of that density.

    What is fitted is how far all weights of a kind move together, and how far each group moves
    from there: with few rows many groups stay alike, unless the rows say otherwise.

    Args:
        rows: Features, shape (N, D).
        target: Values of mean 0 and variance 1.
        start: Where to start: the mean of a Gaussian prior over the logarithms.
        spread: Standard deviation of that prior, for what the groups share.
        apart: The same for what is each group's own.
        steps: Most steps of the optimiser (L-BFGS).
    """
    parts = _Parts(rows, start.groups)
    moves = _moves(len(start.groups))
    scale = np.full(moves.shape[1], apart)
    scale[:4] = spread

    def settings(moved: Array) -> Kernel:
        return start.with_theta(np.clip(start.theta + moves @ moved, LOWEST, HIGHEST))

    def objective(moved: Array) -> tuple[float, Array]:
        value, slope = parts.likelihood(settings(moved), target)
        away = moved / scale
        return -(value - 0.5 * float(away @ away)), -(moves.T @ slope - away / scale)

    found = minimize(
        objective,
        np.zeros(len(scale)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-FARTHEST * s, FARTHEST * s) for s in scale],
        options={"maxiter": steps},
    )
    return settings(np.asarray(found.x, dtype=np.float64)), -float(found.fun)


def _moves(count: int) -> Array:
    """How the logarithms of a kernel follow from what is shared and what is each group's own.

    Columns: the linear part, the variance, the scales and the noise of all; then, if there are
    several groups, the linear part of each and the scale of each.
    """
    found = np.zeros((2 * count + 2, 4 + 2 * count))
    found[:count, 0] = 1.0
    found[count, 1] = 1.0
    found[count + 1 : -1, 2] = 1.0
    found[-1, 3] = 1.0
    found[:count, 4 : 4 + count] = np.eye(count)
    found[count + 1 : -1, 4 + count :] = np.eye(count)
    return found if count > 1 else found[:, :4]


class _Parts:
    """What does not change while the settings of a kernel do."""

    def __init__(self, rows: Array, groups: Sequence[Sequence[int]]) -> None:
        count = len(rows)
        self.products = np.empty((len(groups), count * count))
        self.distances = np.empty_like(self.products)
        for place, group in enumerate(groups):
            columns = rows[:, list(group)]
            self.products[place] = (columns @ columns.T).ravel()
            self.distances[place] = _squared(columns, columns).ravel()

    def likelihood(self, kernel: Kernel, target: Array) -> tuple[float, Array]:
        """Log p(target) and its derivative by each logarithm."""
        shape = (len(target), len(target))
        linear, scales, noise = np.exp(kernel.linear), np.exp(kernel.scales), np.exp(kernel.noise)
        smooth = np.exp(kernel.variance - 0.5 * (scales @ self.distances)).reshape(shape)
        whole = smooth + (linear @ self.products).reshape(shape)
        whole[np.diag_indices_from(whole)] += noise + JITTER
        lower = cholesky(whole, lower=True, check_finite=False)
        inverse = cho_solve((lower, True), np.eye(len(target)), check_finite=False)
        alpha = inverse @ target
        value = -0.5 * float(target @ alpha) - float(np.log(np.diag(lower)).sum())
        value -= 0.5 * len(target) * float(np.log(2 * np.pi))
        # d log p / d theta = sum of W * dK / 2 with W = alpha alphaᵀ - K⁻¹
        half = 0.5 * (np.outer(alpha, alpha) - inverse)
        curved = half * smooth
        slope = [
            linear * (self.products @ half.ravel()),
            [curved.sum()],
            -0.5 * scales * (self.distances @ curved.ravel()),
            [noise * np.trace(half)],
        ]
        return value, np.concatenate(slope)


class Posterior:
    """What a kernel says of a function that was seen at some rows.

    Args:
        kernel: The kernel.
        rows: Where the function was seen.
        target: What was seen there.
    """

    def __init__(self, kernel: Kernel, rows: Array, target: Array) -> None:
        self.kernel, self.rows, self.target = kernel, rows, target
        gram = kernel(rows, rows)
        gram[np.diag_indices_from(gram)] += np.exp(kernel.noise) + JITTER
        self.lower: NDArray[np.float64] = cholesky(gram, lower=True, check_finite=False)
        self.alpha = cho_solve((self.lower, True), target, check_finite=False)

    def mean(self, rows: Array) -> Array:
        """The expected function at rows."""
        found: Array = self.kernel(rows, self.rows) @ self.alpha
        return found

    def variance(self, rows: Array) -> Array:
        """The variance of the function at each row, without noise."""
        half = self._half(self.kernel(rows, self.rows))
        found: Array = np.maximum(self.kernel.diagonal(rows) - (half**2).sum(axis=0), 0.0)
        return found

    def covariance(self, rows: Array) -> Array:
        """The covariance of the function between rows, without noise."""
        half = self._half(self.kernel(rows, self.rows))
        found: Array = self.kernel(rows, rows) - half.T @ half
        return found

    def left_out(self) -> tuple[Array, Array]:
        """Mean and variance of each value, noise included, by all values but itself.

        In closed form (Rasmussen and Williams 2006, section 5.4.2).
        """
        inverse = cho_solve((self.lower, True), np.eye(len(self.rows)), check_finite=False)
        variance: Array = 1.0 / np.diag(inverse)
        return self.target - self.alpha * variance, variance

    def _half(self, cross: Array) -> Array:
        found: Array = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        return found
