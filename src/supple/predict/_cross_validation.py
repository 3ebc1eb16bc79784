"""Cross-validation for few rows: folds that need no luck, and the error that models compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

__all__ = ["Array", "convex_weights", "folds", "mape"]

Array = NDArray[np.float64]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

# A target near zero would make any relative error infinite: targets count as at least this
# fraction of the typical one.
SMALLEST_SHARE = 0.01


def folds(count: int, parts: int, seed: int) -> list[Fold]:
    """Rows to fit on and rows to score, for each of at most ``parts`` shuffled folds."""
    order = np.random.default_rng(seed).permutation(count)
    pieces = np.array_split(order, min(parts, count))
    return [(np.sort(np.setdiff1d(order, piece)), np.sort(piece)) for piece in pieces]


def mape(truth: Array, predicted: Array) -> Array:
    """Mean absolute percentage error of each column of predictions, as a fraction."""
    size = np.abs(truth)
    smallest = SMALLEST_SHARE * np.median(size)
    scale = np.maximum(size, smallest if smallest > 0 else max(float(size.max()), 1e-300))
    error: Array = np.mean(np.abs(predicted - truth[:, None]) / scale[:, None], axis=0)
    return error


def convex_weights(guesses: Array, target: Array) -> Array:
    """Weights from 0 to 1 that add up to 1 and minimise the squared error."""
    # One heavy equation holds the sum; the weights are then made to add up exactly.
    heavy = 1e3 * max(float(np.abs(guesses).max()), 1.0)
    rows = np.vstack([guesses, np.full((1, guesses.shape[1]), heavy)])
    weights, _ = nnls(rows, np.append(target, heavy))
    total = float(weights.sum())
    found: Array = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    kept: Array = np.where(found < 1e-9, 0.0, found)
    whole: Array = kept / kept.sum()
    return whole
