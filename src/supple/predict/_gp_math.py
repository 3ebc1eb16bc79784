"""The marginal likelihood of a Gaussian process and its slope, for a kernel of a few parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, lapack, solve_triangular
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
    """k(x, y) = l + q l² + v exp(-sum_g s_g |x - y|²_g / 2) with l = sum_g a_g <x, y>_g, and noise.

    Each g is a group of columns: all columns of one choice, or of one feature. The three parts are
    what each choice adds, what each pair adds, and all the rest.

    Args:
        groups: The columns of each group.
        linear: The logarithm of a for each group.
        variance: The logarithm of v.
        scales: The logarithm of s for each group.
        noise: The logarithm of the noise on top.
        square: The logarithm of q.
    """

    groups: tuple[tuple[int, ...], ...]
    linear: Array
    variance: float
    scales: Array
    noise: float
    square: float

    @property
    def theta(self) -> Array:
        """All logarithms in a row."""
        ends = [self.noise, self.square]
        return np.concatenate([self.linear, [self.variance], self.scales, ends])

    def with_theta(self, theta: Array) -> Kernel:
        """The kernel with these logarithms."""
        count = len(self.groups)
        return Kernel(
            self.groups,
            theta[:count],
            float(theta[count]),
            theta[count + 1 : 2 * count + 1],
            float(theta[-2]),
            float(theta[-1]),
        )

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """The columns that it reads, group by group."""
        return np.array([column for group in self.groups for column in group], dtype=np.int64)

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        """Of each of these columns: a and s."""
        sizes = [len(group) for group in self.groups]
        return np.repeat(np.exp(self.linear), sizes), np.repeat(np.exp(self.scales), sizes)

    def __call__(self, left: Array, right: Array) -> Array:
        """The kernel for all pairs of rows, without noise."""
        found = self.smooth(left, right)
        alone = (left[:, self.columns] * self._weights[0]) @ right[:, self.columns].T
        found += alone
        alone *= alone
        found += np.exp(self.square) * alone
        return found

    def smooth(self, left: Array, right: Array) -> Array:
        """Its second part: exp(v - |x|²/2 - |y|²/2 + <x, y>), made in one matrix in place."""
        left, right = left[:, self.columns], right[:, self.columns]
        scales = self._weights[1]
        found: Array = (left * scales) @ right.T
        found -= 0.5 * ((left**2) @ scales)[:, None] - self.variance
        found -= 0.5 * ((right**2) @ scales)[None, :]
        np.minimum(found, self.variance, out=found)
        return np.exp(found, out=found)

    def slopes(self, rows: Array, weights: Array) -> tuple[Array, Array]:
        """What columns, and pairs of columns, add to a weighted sum of the kernel at rows."""
        linear = self._weights[0]
        columns = rows[:, self.columns] * linear
        alone: Array = columns.T @ weights
        pairs: Array = np.exp(self.square) * (columns.T * weights) @ columns
        return alone, pairs

    def diagonal(self, rows: Array) -> Array:
        """k(x, x) of each row."""
        alone: Array = (rows[:, self.columns] ** 2) @ self._weights[0]
        found: Array = alone + np.exp(self.square) * alone**2 + np.exp(self.variance)
        return found


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
    scale[:5] = spread

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

    Columns: the linear part, the variance, the scales, the noise and the square of all; then, if
    there are several groups, the linear part of each and the scale of each.
    """
    found = np.zeros((2 * count + 3, 5 + 2 * count))
    found[:count, 0] = 1.0
    found[count, 1] = 1.0
    found[count + 1 : -2, 2] = 1.0
    found[-2, 3] = 1.0
    found[-1, 4] = 1.0
    found[:count, 5 : 5 + count] = np.eye(count)
    found[count + 1 : -2, 5 + count :] = np.eye(count)
    return found if count > 1 else found[:, :5]


class _Parts:
    """What does not change while the settings of a kernel do: one triangle of each matrix."""

    def __init__(self, rows: Array, groups: Sequence[Sequence[int]]) -> None:
        self.count = len(rows)
        # Places of the lower triangle of a matrix that is stored column by column.
        second, first = np.triu_indices(self.count)
        self.places = first + second * self.count
        self.first, self.second = first, second
        self.is_diagonal = first == second
        self.products = np.empty((len(groups), len(first)))
        self.distances = np.empty_like(self.products)
        for place, group in enumerate(groups):
            columns = rows[:, list(group)]
            product = columns @ columns.T
            size = np.diag(product)
            squared = np.maximum(size[:, None] + size[None, :] - 2.0 * product, 0.0)
            self.products[place] = product[first, second]
            self.distances[place] = squared[first, second]

    def likelihood(self, kernel: Kernel, target: Array) -> tuple[float, Array]:
        """Log p(target) and its derivative by each logarithm."""
        linear, scales = np.exp(kernel.linear), np.exp(kernel.scales)
        noise, square = np.exp(kernel.noise), np.exp(kernel.square)
        smooth = np.exp(kernel.variance - 0.5 * (scales @ self.distances))
        alone = linear @ self.products
        pairs = square * alone**2
        whole = smooth + alone + pairs
        whole[self.is_diagonal] += noise + JITTER
        flat = np.zeros(self.count**2)
        flat[self.places] = whole
        lower = factored(flat.reshape(self.count, self.count, order="F"))
        alpha = cho_solve((lower, True), target, check_finite=False)
        value = -0.5 * float(target @ alpha) - float(np.log(np.diag(lower)).sum())
        value -= 0.5 * len(target) * float(np.log(2 * np.pi))
        # d log p / d theta = sum of W * dK / 2 with W = alpha alphaᵀ - K⁻¹; what is below the
        # diagonal counts for what is above it too.
        inverse = inverted(lower).ravel(order="F")[self.places]
        half = alpha[self.first] * alpha[self.second] - inverse
        half[self.is_diagonal] *= 0.5
        curved = half * smooth
        slope = [
            linear * (self.products @ (half * (1.0 + 2.0 * square * alone))),
            [curved.sum()],
            -0.5 * scales * (self.distances @ curved),
            [noise * half[self.is_diagonal].sum()],
            [half @ pairs],
        ]
        return value, np.concatenate(slope)


def factored(gram: Array) -> Array:
    """The lower root of a matrix of which the lower triangle is read; a little is added if needed.

    What is above the diagonal of the root is not meant.
    """
    diagonal = np.diag(gram).copy()
    extra = JITTER * float(diagonal.mean())
    for _ in range(6):
        lower, failed = lapack.dpotrf(gram, lower=1, clean=0)
        if not failed and np.isfinite(np.trace(lower)):
            found: Array = lower
            return found
        gram[np.diag_indices_from(gram)] = diagonal + extra
        extra *= 100.0
    raise LinAlgError("the covariance of a Gaussian process is not finite")


def inverted(lower: Array) -> Array:
    """The inverse of a matrix with this lower root: its lower triangle."""
    found: Array = lapack.dpotri(lower, lower=1)[0]
    return found


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
        self.lower: NDArray[np.float64] = factored(gram)
        self.alpha = cho_solve((self.lower, True), target, check_finite=False)
        self._slopes = kernel.slopes(rows, self.alpha)

    def mean(self, rows: Array) -> Array:
        """The expected function at rows."""
        found: Array = self.kernel.smooth(rows, self.rows) @ self.alpha
        columns, (alone, pairs) = rows[:, self.kernel.columns], self._slopes
        found += columns @ alone + ((columns @ pairs) * columns).sum(axis=1)
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
        variance: Array = 1.0 / np.diag(inverted(self.lower))
        return self.target - self.alpha * variance, variance

    def _half(self, cross: Array) -> Array:
        found: Array = solve_triangular(self.lower, cross.T, lower=True, check_finite=False)
        return found
