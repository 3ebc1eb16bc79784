"""How much a config would add to the hypervolume, for many candidates and many guesses at once.

Two losses: exact, by the strips between the points of a front. One or three: the hypervolume is
a mean, over directions, of how far the best point reaches along each of them (Zhang and Golovin
2020, arXiv 2006.04655), which needs no cutting into boxes.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from supple.study import non_dominated

__all__ = ["Fronts"]

Array = NDArray[np.float64]

DIRECTIONS = 512


class Fronts:
    """One front per guess (or draw) of the unknown losses, all growing by the same configs.

    Args:
        measured: Losses of what was measured, shape (N, M).
        corner: The worst corner.
        draws: How many guesses there are.
    """

    def __init__(self, measured: Array, corner: Array, draws: int) -> None:
        self.corner = corner
        inside = measured[np.all(measured < corner, axis=1)]
        front = inside[non_dominated(inside)] if len(inside) else inside
        self._is_flat = len(corner) == 2
        if self._is_flat:
            self._fronts = [_staircase(front)] * draws
        else:
            self._ways = _directions(len(corner))
            reached = self._reach(front[None])[0].max(axis=0, initial=0.0)
            self._best = np.tile(reached, (draws, 1))

    def gains(self, losses: Array) -> Array:
        """The mean gain of each candidate over the guesses.

        Args:
            losses: Shape (draws, candidates, M).
        """
        if self._is_flat:
            total = np.zeros(losses.shape[1])
            for stairs, points in zip(self._fronts, losses, strict=True):
                total += _flat_gains(stairs, points, self.corner)
            return total / len(losses)
        total = np.zeros(losses.shape[1])
        for best, points in zip(self._best, losses, strict=True):
            total += np.maximum(self._reach(points[None])[0] - best, 0.0).mean(axis=1)
        gain: Array = total / len(losses) * _volume_factor(self.corner)
        return gain

    def add(self, losses: Array) -> None:
        """Let a config join: its losses in each guess, shape (draws, M)."""
        if not self._is_flat:
            self._best = np.maximum(self._best, self._reach(losses[:, None])[:, 0])
            return
        self._fronts = [
            _joined(stairs, point, self.corner)
            for stairs, point in zip(self._fronts, losses, strict=True)
        ]

    def _reach(self, losses: Array) -> Array:
        """How far each point reaches along each direction, to the power of the objectives."""
        room = np.maximum(self.corner - losses, 0.0)
        found = np.full((*losses.shape[:-1], len(self._ways)), np.inf)
        for objective in range(losses.shape[-1]):
            found = np.minimum(found, room[..., objective, None] / self._ways[:, objective])
        power: Array = found ** len(self.corner)
        return power


def _volume_factor(corner: Array) -> float:
    """The volume of the part of the unit ball in which all coordinates are positive."""
    count = len(corner)
    return float(math.pi ** (count / 2) / (2**count * math.gamma(count / 2 + 1)))


def _directions(count: int) -> Array:
    """Unit vectors spread evenly over the part of the sphere where all are positive."""
    if count == 1:
        return np.ones((1, 1))
    # A lattice of irrational steps, through the inverse of the normal distribution.
    golden = 1.0
    for _ in range(60):
        golden = (1.0 + golden) ** (1.0 / (count + 1))
    steps = (0.5 + np.outer(np.arange(DIRECTIONS) + 1, golden ** -np.arange(1, count + 1))) % 1.0
    normal = NormalDist()
    points = np.array([[normal.inv_cdf(0.5 + v / 2) for v in row] for row in steps])
    found: Array = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.maximum(found, 1e-9)


def _staircase(front: Array) -> Array:
    """A front sorted by its first loss, one row for each different point."""
    if not len(front):
        return np.empty((0, 2))
    return np.unique(front, axis=0)


def _joined(stairs: Array, point: Array, corner: Array) -> Array:
    if np.any(point >= corner) or np.any(np.all(stairs <= point, axis=1)):
        return stairs
    kept = stairs[~np.all(point <= stairs, axis=1)]
    place = int(np.searchsorted(kept[:, 0], point[0]))
    return np.insert(kept, place, point, axis=0)


def _flat_gains(stairs: Array, points: Array, corner: Array) -> Array:
    """The area that each point adds.

    Between two steps the front has one height; a point adds the part of that strip to its right
    that is between its own second loss and the height.
    """
    left = np.concatenate([[-np.inf], stairs[:, 0]])
    right = np.concatenate([stairs[:, 0], [corner[0]]])
    height = np.concatenate([[corner[1]], stairs[:, 1]])
    width = np.maximum(right - np.maximum(left, points[:, :1]), 0.0)
    area: Array = (width * np.maximum(height - points[:, 1:], 0.0)).sum(axis=1)
    return area
