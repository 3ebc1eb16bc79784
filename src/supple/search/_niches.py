"""Selection of NSGA-III: rank first, then the emptiest direction.

Deb and Jain 2014, "An Evolutionary Many-Objective Optimization Algorithm Using
Reference-Point-Based Nondominated Sorting". Losses throughout: smaller is better.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from supple.study import dominance_ranks

__all__ = ["associate", "das_dennis", "nadir", "niched_rows"]

Losses = NDArray[np.float64]
Rows = NDArray[np.int64]


def das_dennis(objectives: int, partitions: int) -> Losses:
    """Points spread evenly where coordinates add up to 1: all whole numbers of partitions."""
    bars = combinations(range(partitions + objectives - 1), objectives - 1)
    edges = [(-1, *cut, partitions + objectives - 1) for cut in bars]
    points: Losses = (np.diff(np.array(edges), axis=1) - 1) / partitions
    return points


def directions_for(objectives: int, count: int) -> Losses:
    """The densest even directions that are no more than ``count``, at least the axes."""
    if objectives == 1:
        return np.ones((1, 1))
    partitions = 1
    while len(das_dennis(objectives, partitions + 1)) <= count:
        partitions += 1
    return das_dennis(objectives, partitions)


def nadir(losses: Losses, ideal: Losses) -> Losses:
    """Where the plane through the extreme points of a front meets the axes.

    The extreme point of an objective is the one nearest to its axis. Without such a plane, the
    worst of the front.
    """
    shifted = losses - ideal
    weights = np.where(np.eye(losses.shape[1]) == 1, 1.0, 1e6)
    extreme = shifted[(shifted[:, None, :] * weights).max(axis=2).argmin(axis=0)]
    worst: Losses = losses.max(axis=0)
    try:
        plane = np.linalg.solve(extreme, np.ones(len(extreme)))
    except np.linalg.LinAlgError:
        return worst
    with np.errstate(divide="ignore"):
        intercepts = 1.0 / plane
    is_plane = np.all(np.isfinite(intercepts)) and np.all(intercepts > 1e-6)
    found: Losses = ideal + intercepts
    return np.minimum(found, worst) if is_plane else worst


def associate(losses: Losses, directions: Losses) -> tuple[Rows, Losses]:
    """For each row the nearest direction from the origin, and how far it is from its line."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    along = losses @ unit.T
    apart = np.sqrt(np.maximum((losses**2).sum(axis=1)[:, None] - along**2, 0.0))
    nearest: Rows = apart.argmin(axis=1)
    return nearest, apart[np.arange(len(losses)), nearest]


def niched_rows(losses: Losses, count: int, directions: Losses, rng: np.random.Generator) -> Rows:
    """The ``count`` best rows: whole fronts, and of the last one those in empty directions."""
    ranks = dominance_ranks(losses)
    order = np.argsort(ranks, kind="stable")
    if len(order) <= count:
        return order
    last = ranks[order[count - 1]]
    sure = np.flatnonzero(ranks < last)
    open_ = np.flatnonzero(ranks == last)
    front = losses[ranks == 0]
    ideal = front.min(axis=0)
    span = np.maximum(nadir(front, ideal) - ideal, 1e-12)
    niche, apart = associate((losses - ideal) / span, directions)
    filled = np.bincount(niche[sure], minlength=len(directions))
    taken: list[int] = []
    waiting = {int(row) for row in open_}
    while len(sure) + len(taken) < count:
        there = sorted({int(niche[row]) for row in waiting})
        least = min(filled[there])
        chosen = rng.choice([n for n in there if filled[n] == least])
        rows = sorted(row for row in waiting if niche[row] == chosen)
        nearest = min(rows, key=lambda row: float(apart[row]))
        # An empty direction takes its nearest; a filled one any, to stay diverse.
        row = nearest if filled[chosen] == 0 else int(rng.choice(rows))
        taken.append(row)
        waiting.discard(row)
        filled[chosen] += 1
    return np.concatenate([sure, np.array(taken, dtype=np.int64)])
