"""Hypervolume: how much of the space of objectives a set of points dominates.

The volume between the points and a reference point that is worse than all points of interest;
larger is better, and a point beyond the reference adds nothing. Exact: one objective directly,
two by a sweep, more by slicing along the last one (Zitzler and Thiele 1998; Knowles 2002).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supple.errors import StudyError
from supple.study.direction import Directions, losses, signs
from supple.study.pareto import non_dominated

__all__ = ["hypervolume", "hypervolume_curve", "reference_point"]

# The default reference point looks at this many points, so it is the same ever after.
FIRST_POINTS = 20
MARGIN = 0.1


class _HasValues(Protocol):
    @property
    def values(self) -> Mapping[str, float]: ...


def hypervolume(
    points: ArrayLike | Sequence[Mapping[str, float]],
    reference: ArrayLike | Mapping[str, float],
    directions: Directions | Sequence[str],
) -> float:
    """The volume that ``points`` dominate up to ``reference``.

    Args:
        points: One row of values per point, or mappings from the objectives' names to values.
        reference: The worst corner, as values (not losses).
        directions: ``"min"`` or ``"max"`` per objective, by name or in the order of columns.

    Example:
        >>> hypervolume([(0.9, 2.0), (0.8, 1.0)], (0.5, 4.0), ("max", "min"))
        1.1
    """
    table = _as_losses(points, directions)
    corner = _as_losses([reference], directions)[0]
    if not np.all(np.isfinite(table)) or not np.all(np.isfinite(corner)):
        raise StudyError(
            "a hypervolume of points that are not finite numbers was asked for.",
            hint="leave failed trials out.",
        )
    return _volume(table, corner)


def hypervolume_curve(
    trials: Iterable[_HasValues],
    directions: Directions,
    reference: Mapping[str, float] | None = None,
) -> list[tuple[int, float]]:
    """The hypervolume after 1, 2, … trials, never decreasing.

    Args:
        trials: Complete trials or candidates, in the order in which they were measured.
        directions: The objectives and which way is better.
        reference: The worst corner; ``reference_point(trials, directions)`` if None.
    """
    values = [trial.values for trial in trials]
    if not values:
        return []
    if reference is None:
        reference = reference_point(values, directions)
    table = losses(values, directions)
    corner = losses([reference], directions)[0]
    front = np.empty((0, len(directions)))
    curve, volume = [], 0.0
    for number, point in enumerate(table, start=1):
        if np.all(point < corner) and not np.any(np.all(front <= point, axis=1)):
            front = np.vstack([front[~np.all(point <= front, axis=1)], point])
            volume = max(volume, _volume(front, corner))
        curve.append((number, volume))
    return curve


def reference_point(
    values: Sequence[Mapping[str, float] | _HasValues], directions: Directions
) -> dict[str, float]:
    """A reference point that stays the same however long the search goes on.

    For each objective the worst value among the first 20 points, moved outwards by a tenth of
    their range. A longer or resumed search has the same first 20 points.
    """
    first = [v if isinstance(v, Mapping) else v.values for v in values[:FIRST_POINTS]]
    if not first:
        raise StudyError(
            "a reference point cannot be chosen without any complete trial.",
            hint="give reference={...} yourself, or run the study first.",
        )
    table = losses(first, directions)
    worst, best = table.max(axis=0), table.min(axis=0)
    # Without any range the margin is a tenth of the value, so that the volume is not nothing.
    spread = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1e-12))
    corner = (worst + MARGIN * spread) * signs(directions.values())
    return dict(zip(directions, corner.tolist(), strict=True))


def _as_losses(
    points: ArrayLike | Sequence[ArrayLike | Mapping[str, float]],
    directions: Directions | Sequence[str],
) -> NDArray[np.float64]:
    ways = list(directions.values()) if isinstance(directions, Mapping) else list(directions)
    rows = list(points) if isinstance(points, Sequence | np.ndarray) else np.asarray(points)
    if isinstance(directions, Mapping):
        rows = [[p[n] for n in directions] if isinstance(p, Mapping) else p for p in rows]
    table = np.asarray(rows, dtype=np.float64)
    table = table.reshape(len(table), -1) if table.size else table.reshape(0, len(ways))
    if table.shape[1] != len(ways):
        raise StudyError(
            f"points of {table.shape[1]} values do not fit {len(ways)} directions.",
            hint="give one direction per value.",
        )
    return table * signs(ways)


def _volume(table: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    """Volume dominated by rows of losses; rows not strictly inside add nothing."""
    inside = table[np.all(table < corner, axis=1)]
    if not len(inside):
        return 0.0
    return _slices(np.unique(inside[non_dominated(inside)], axis=0), corner)


def _slices(front: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    """Volume of a front of different rows, sorted by the first loss."""
    if len(corner) == 1:
        return float(corner[0] - front[:, 0].min())
    if len(corner) == 2:
        # Along the first loss every point owns the strip up to the next point.
        edges = np.append(front[1:, 0], corner[0])
        return float(np.sum((edges - front[:, 0]) * (corner[1] - front[:, 1])))
    front = front[np.argsort(front[:, -1], kind="stable")]
    heights = np.diff(np.append(front[:, -1], corner[-1]))
    total = 0.0
    for count, height in enumerate(heights, start=1):
        if height > 0:
            total += height * _volume(front[:count, :-1], corner[:-1])
    return total
