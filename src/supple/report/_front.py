"""The front as points to draw, before anybody decides how: shared by both drawings of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supple.report._objectives import Objective, cost, quality
from supple.report._result import NetworkResult, Option, Result, TrialResult
from supple.report._structure import describe_config, full_sizes

__all__ = ["FrontChart", "Point", "front_chart"]

# The dominated corner of a search can be far away (an untrained sub-network guesses); the first
# view leaves out what is further below the front than this many times the front's own height.
_VIEW_BELOW = 0.6
_MARGIN = 0.1


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network as a point: plotted coordinates, the lines shown on hover, its trial number."""

    x: float
    y: float
    lines: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class FrontChart:
    """Everything the front's drawing shows.

    Args:
        x: Objective to the right; ``None`` when there is one objective (x is the evaluation).
        y: Objective upwards.
        trials: The evaluated sub-networks that are not on the front.
        front: Those on the front, left to right.
        line: The part of the front that makes the staircase (non-dominated in x and y alone).
        baseline: The given network.
        pick: The picked network as it is now, after fine-tuning.
        picked_from: The same as the search saw it.
        bound: The asked bound on x, in plotted units.
        y_range: The first view, low and high.
        below: How many trials lie below the first view.
    """

    x: Objective | None
    y: Objective
    trials: tuple[Point, ...]
    front: tuple[Point, ...]
    line: tuple[Point, ...]
    baseline: Point | None
    pick: Point | None
    picked_from: Point | None
    bound: float | None
    y_range: tuple[float, float]
    below: int

    @property
    def points(self) -> tuple[Point, ...]:
        """All points of the drawing."""
        marked = (self.baseline, self.pick, self.picked_from)
        return self.trials + self.front + tuple(p for p in marked if p is not None)

    @property
    def is_tuned(self) -> bool:
        """Whether the pick moved after the search, by its final training."""
        return self.pick is not None and self.picked_from not in (None, self.pick)

    @property
    def x_is_cost(self) -> bool:
        """Whether smaller is better on the x axis."""
        return self.x is not None and self.x.direction == "min"

    @property
    def x_title(self) -> str:
        """The title of the x axis."""
        return self.x.axis_title if self.x else "evaluation"


def front_chart(result: Result) -> FrontChart:
    """Collect the points of a run's front."""
    x, y = cost(result), quality(result)
    sizes = full_sizes(result)
    on_front = set(result.front)
    points = {t.number: _trial_point(t, x, y, sizes, t.number in on_front) for t in result.trials}
    drawn = {number: point for number, point in points.items() if point is not None}
    front = sorted((drawn[n] for n in on_front if n in drawn), key=lambda p: (p.x, p.y))
    trials = [point for number, point in drawn.items() if number not in on_front]
    baseline = _baseline_point(result, x, y)
    picked_from = drawn.get(result.pick.trial) if result.pick else None
    pick = _pick_point(result, x, y, sizes) or picked_from
    marked = [point for point in (baseline, pick) if point is not None]
    y_range = _first_view([*front, *marked], trials, y)
    return FrontChart(
        x=x,
        y=y,
        trials=tuple(trials),
        front=tuple(front),
        line=_staircase(front, x, y),
        baseline=baseline,
        pick=pick,
        picked_from=picked_from,
        bound=_bound(result, x),
        y_range=y_range,
        below=sum(1 for point in trials if not y_range[0] <= point.y <= y_range[1]),
    )


def _trial_point(
    trial: TrialResult,
    x: Objective | None,
    y: Objective,
    sizes: dict[str, Option],
    is_front: bool,
) -> Point | None:
    if y.name not in trial.values or (x is not None and x.name not in trial.values):
        return None
    shown = [y.said(trial.values[y.name])]
    if x is not None:
        shown.append(x.said(trial.values[x.name]))
    title = f"trial {trial.number}" + (", on the front" if is_front else "")
    return Point(
        x=trial.values[x.name] * x.scale if x is not None else float(trial.number),
        y=trial.values[y.name] * y.scale,
        lines=(title, " · ".join(shown), *describe_config(trial.config, sizes)),
        number=trial.number,
    )


def _baseline_point(result: Result, x: Objective | None, y: Objective) -> Point | None:
    if result.baseline is None:
        return None
    return _network_point(result.baseline, result, x, y, ("baseline: the network as given",))


def _pick_point(
    result: Result, x: Objective | None, y: Objective, sizes: dict[str, Option]
) -> Point | None:
    if result.pick is None:
        return None
    title = f"pick (trial {result.pick.trial})"
    lines = (title, *describe_config(result.pick.config, sizes))
    return _network_point(result.pick, result, x, y, lines)


def _network_point(
    network: NetworkResult,
    result: Result,
    x: Objective | None,
    y: Objective,
    lines: tuple[str, ...],
) -> Point | None:
    """A network measured at the end; ``None`` where what is plotted was not measured of it."""
    if x is None or result.baseline is None:
        return None
    at, up = x.of(network, result.baseline), y.of(network, result.baseline)
    if at is None or up is None:
        return None
    shown = f"{y.said(up)} · {x.said(at)}"
    return Point(x=at * x.scale, y=up * y.scale, lines=(lines[0], shown, *lines[1:]))


def _staircase(front: Sequence[Point], x: Objective | None, y: Objective) -> tuple[Point, ...]:
    """The points of ``front`` no other one beats in x and y, from the left to the right."""
    if x is None:
        return ()
    x_sign = 1 if x.direction == "min" else -1
    y_sign = 1 if y.direction == "max" else -1
    line: list[Point] = []
    for point in sorted(front, key=lambda p: (x_sign * p.x, -y_sign * p.y)):
        if not line or y_sign * point.y > y_sign * line[-1].y:
            line.append(point)
    return tuple(sorted(line, key=lambda p: p.x))


def _bound(result: Result, x: Objective | None) -> float | None:
    """The relative bound of the pick on the x axis, in plotted units."""
    asked = result.asked.pick.get(x.name) if x is not None else None
    if x is None or asked is None or isinstance(asked, str) or result.baseline is None:
        return None
    full = x.of(result.baseline, result.baseline)
    return None if full is None else asked * full * x.scale


def _first_view(
    shown: Sequence[Point], trials: Sequence[Point], y: Objective
) -> tuple[float, float]:
    heights = [point.y for point in shown] or [point.y for point in trials] or [0.0, 1.0]
    low, high = min(heights), max(heights)
    height = (high - low) or abs(high) * 0.1 or 1.0
    others = [point.y for point in trials]
    if y.direction == "max":
        low = max(min([low, *others]), low - _VIEW_BELOW * height)
    else:
        high = min(max([high, *others]), high + _VIEW_BELOW * height)
    margin = _MARGIN * ((high - low) or height)
    return low - margin, high + margin
