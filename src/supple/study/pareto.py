"""Who dominates whom: non-dominated points and the ranks of non-dominated sorting.

A point dominates another if it is no worse in every loss and better in one. Rank 0 is the
front; rank 1 is the front once rank 0 is taken away; and so on (Deb et al. 2002, NSGA-II).
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["dominance_ranks", "non_dominated"]


def non_dominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which rows of losses no other row dominates; equal rows do not dominate one another."""
    points = np.asarray(losses, dtype=np.float64)
    if points.ndim == 2 and points.shape[1] > 2:
        return _undominated(points)
    first: NDArray[np.bool_] = dominance_ranks(points) == 0
    return first


def dominance_ranks(losses: ArrayLike) -> NDArray[np.int64]:
    """The rank of each row of losses, shape (N, M), 0 being the front."""
    points = np.asarray(losses, dtype=np.float64)
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    if points.shape[1] == 1:
        return np.unique(points[:, 0], return_inverse=True)[1].astype(np.int64)
    # Equal rows share a rank, and sorted rows are dominated only by rows before them.
    rows, inverse = np.unique(points, axis=0, return_inverse=True)
    ranks = _ranks_of_two(rows[:, 1]) if points.shape[1] == 2 else _ranks_by_peeling(rows)
    found: NDArray[np.int64] = ranks[inverse.reshape(-1)]
    return found


def _ranks_of_two(second: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks of different rows sorted by (first, second) loss.

    The last row put into a front has its smallest second loss, so it alone decides whether the
    front dominates the next row; these smallest losses ascend from front to front.
    """
    smallest: list[float] = []
    ranks = np.empty(len(second), dtype=np.int64)
    for row, loss in enumerate(second.tolist()):
        rank = bisect_right(smallest, loss)
        if rank == len(smallest):
            smallest.append(loss)
        else:
            smallest[rank] = loss
        ranks[row] = rank
    return ranks


def _ranks_by_peeling(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks of different rows by taking one front away after the other."""
    # dominates[i, j]: row i dominates row j. Rows differ, so "no worse" is enough.
    dominates = np.all(rows[:, None, :] <= rows[None, :, :], axis=2)
    np.fill_diagonal(dominates, False)
    dominators = dominates.sum(axis=0)
    ranks = np.full(len(rows), -1, dtype=np.int64)
    rank = 0
    while (front := np.flatnonzero(dominators == 0)).size:
        ranks[front] = rank
        dominators = dominators - dominates[front].sum(axis=0)
        dominators[front] = -1
        rank += 1
    return ranks


def _undominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The front alone, without the N × N table that ranks need."""
    alive = np.arange(len(points))
    order = np.argsort(points.sum(axis=1), kind="stable")
    alive = alive[order]
    kept = []
    while alive.size:
        head, alive = alive[0], alive[1:]
        kept.append(head)
        worse = np.all(points[head] <= points[alive], axis=1)
        equal = np.all(points[head] == points[alive], axis=1)
        alive = alive[~worse | equal]
    mask = np.zeros(len(points), dtype=bool)
    mask[kept] = True
    return mask
