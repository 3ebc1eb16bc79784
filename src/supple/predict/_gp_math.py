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
LOWEST, HIGHEST = -9.0, 5.0
NOISE_LOWEST = -14.0


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
    rows: Array, target: Array, start: Kernel, *, spread: float, steps: int
) -> tuple[Kernel, float]:
    """The kernel of the largest posterior density, and the logarithm of that density.

    Args:
        rows: Features, shape (N, D).
        target: Values of mean 0 and variance 1.
        start: Where to start, which is also the mean of a Gaussian prior over the logarithms.
        spread: Standard deviation of that prior.
        steps: Most steps of the optimiser (L-BFGS).
    """
    parts = _Parts(rows, start.groups)

    def objective(theta: Array) -> tuple[float, Array]:
        value, slope = parts.likelihood(start.with_theta(theta), target)
        away = (theta - start.theta) / spread
        return -(value - 0.5 * float(away @ away)), -(slope - away / spread)

    count = len(start.groups)
    bounds = [(LOWEST, HIGHEST)] * (2 * count + 1) + [(NOISE_LOWEST, 1.0)]
    found = minimize(
        objective,
        start.theta,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps},
    )
    return start.with_theta(np.asarray(found.x, dtype=np.float64)), -float(found.fun)


class _Parts:
    """What does not change while the settings of a kernel do."""

    def __init__(self, rows: Array, groups: Sequence[Sequence[int]]) -> None:
        self.products = [rows[:, list(g)] @ rows[:, list(g)].T for g in groups]
        self.distances = [_squared(rows[:, list(g)], rows[:, list(g)]) for g in groups]

    def likelihood(self, kernel: Kernel, target: Array) -> tuple[float, Array]:
        """Log p(target) and its derivative by each logarithm."""
        distance = sum(np.exp(s) * d for s, d in zip(kernel.scales, self.distances, strict=True))
        smooth = np.exp(kernel.variance - 0.5 * np.asarray(distance))
        whole = smooth + sum(
            np.exp(a) * p for a, p in zip(kernel.linear, self.products, strict=True)
        )
        noise = np.exp(kernel.noise)
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
            np.exp(a) * np.vdot(half, p) for a, p in zip(kernel.linear, self.products, strict=True)
        ]
        slope.append(curved.sum())
        slope += [
            -0.5 * np.exp(s) * np.vdot(curved, d)
            for s, d in zip(kernel.scales, self.distances, strict=True)
        ]
        slope.append(noise * np.trace(half))
        return value, np.array(slope)


class Posterior:
    """What a kernel says of a function that was seen at some rows.

    Args:
        kernel: The kernel.
        rows: Where the function was seen.
        target: What was seen there.
    """

    def __init__(self, kernel: Kernel, rows: Array, target: Array) -> None:
        self.kernel, self.rows = kernel, rows
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

    def _half(self, cross: Array) -> Array:
        found: Array = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        return found
