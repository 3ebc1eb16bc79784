"""Selection of NSGA-II: rank first, then distance to the neighbours on the same front.

Deb, Pratap, Agarwal, Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm".
Losses throughout: smaller is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supple.study.pareto import dominance_ranks

__all__ = ["best_rows", "crowding_distance", "order_of_merit"]

Losses = NDArray[np.float64]
Rows = NDArray[np.int64]


def crowding_distance(losses: Losses, ranks: Rows) -> NDArray[np.float64]:
    """How far each row is from its neighbours on its own front; infinite at the ends.

    Per objective, the gap between the two neighbours as a fraction of the front's range; the
    mean over objectives. All fronts at once.
    """
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.lexsort((column, ranks))
        sorted_ranks, sorted_losses = ranks[order], column[order]
        starts = np.flatnonzero(np.diff(sorted_ranks, prepend=-1))
        ends = np.append(starts[1:], len(order)) - 1
        gaps = np.zeros(len(order))
        gaps[1:-1] = sorted_losses[2:] - sorted_losses[:-2]
        sizes = ends - starts + 1
        spread = np.repeat(sorted_losses[ends] - sorted_losses[starts], sizes)
        share = np.divide(gaps, spread, out=np.zeros_like(gaps), where=spread > 0)
        share[starts] = np.inf
        share[ends] = np.inf
        distance[order] += share
    mean: NDArray[np.float64] = distance / losses.shape[1]
    return mean


def order_of_merit(losses: Losses) -> tuple[Rows, NDArray[np.float64]]:
    """Rank and crowding distance of each row."""
    ranks = dominance_ranks(losses)
    return ranks, crowding_distance(losses, ranks)


def best_rows(losses: Losses, count: int) -> Rows:
    """The ``count`` best rows by rank, then by distance, best first; fewer if there are fewer."""
    ranks, distance = order_of_merit(losses)
    best: Rows = np.lexsort((-distance, ranks))[:count].astype(np.int64)
    return best
