"""Cross-validation for few rows: folds that need no luck, and the error that models compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "folds", "mape"]

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
