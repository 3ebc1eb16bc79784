"""Still drawings as SVG text: what a mail preview, a printer or a page without scripts shows.

Colours come from the page's CSS classes, so the drawings follow light and dark by themselves.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from supple.report._front import FrontChart, Point

__all__ = ["curve_svg", "front_svg", "ticks"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 22, 46
_CHARACTER = 7.2  # width of a character of the labels, in drawing units


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Maps values to drawing units inside the margins."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]

    def left(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def top(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM), 1)


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round values inside [low, high], about ``about`` of them, 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if raw <= power * factor * 1.0001)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def front_svg(chart: FrontChart, alt: str) -> str:
    """The front: evaluated points faint, the staircase, baseline and pick marked and named."""
    points = chart.points
    frame = _Frame(
        width=960,
        height=430,
        x=_padded([p.x for p in points] + ([chart.bound] if chart.bound is not None else [])),
        y=chart.y_range,
    )
    low, high = chart.y_range
    parts = _axes(frame, chart.x_title, chart.y.axis_title)
    if chart.bound is not None:
        at = frame.left(chart.bound)
        ends = f'x1="{at}" x2="{at}" y1="{_TOP}" y2="{frame.height - _BOTTOM}"'
        parts.append(f'<line class="bound" {ends}/>')
        parts.append(_text(at + 5, frame.height - _BOTTOM - 6, "asked: at most this", "note"))
    parts += [_dot(frame, p, "trial", 4) for p in chart.trials if low <= p.y <= high]
    parts.append(_steps(frame, chart.line, across_first=chart.x_is_cost))
    parts += [_dot(frame, p, "on-front", 4.5) for p in chart.front]
    if chart.pick and chart.picked_from:
        parts.append(_segment(frame, chart.picked_from, chart.pick))
    if chart.baseline:
        x, y = frame.left(chart.baseline.x), frame.top(chart.baseline.y)
        parts.append(f'<rect class="baseline" x="{x - 6}" y="{y - 6}" width="12" height="12"/>')
        inside = min(x, frame.width - _RIGHT - 4 * _CHARACTER)
        parts.append(_text(inside, y - 12, "baseline", "name baseline", "middle"))
    if chart.pick:
        x, y = frame.left(chart.pick.x), frame.top(chart.pick.y)
        parts.append(f'<path class="pick" d="{_star(x, y, 11)}"/>')
        parts.append(_text(x - 14, y + 4, "pick", "name pick", "end"))
    return _wrapped(frame, parts, alt)


def curve_svg(curve: Sequence[tuple[int, float]], x_title: str, y_title: str, alt: str) -> str:
    """A curve that holds its value until the next point, such as hypervolume over evaluations."""
    points = [Point(x=float(x), y=y) for x, y in curve]
    frame = _Frame(
        width=720,
        height=240,
        x=(min(p.x for p in points), max(p.x for p in points) + 0.5),
        y=_padded([p.y for p in points]),
    )
    parts = _axes(frame, x_title, y_title, about=4)
    return _wrapped(frame, [*parts, _steps(frame, points)], alt)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _axes(frame: _Frame, x_title: str, y_title: str, about: int = 6) -> list[str]:
    bottom, right = frame.height - _BOTTOM, frame.width - _RIGHT
    parts = []
    for value in ticks(*frame.y, about):
        y = frame.top(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(_text(_LEFT - 8, y + 4, _tick(value), "tick", "end"))
    for value in ticks(*frame.x, 8):
        x = frame.left(value)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 18, _tick(value), "tick", "middle"))
    middle = (_LEFT + right) / 2
    parts.append(_text(middle, frame.height - 6, x_title, "title", "middle"))
    parts.append(_text(_LEFT, _TOP - 8, y_title, "title"))
    return parts


def _tick(value: float) -> str:
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if size == 1e4 else size):g}{prefix}"
    return f"{value:g}".replace("-", "−")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    place = f'x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{html.escape(text)}</text>'


def _dot(frame: _Frame, point: Point, kind: str, radius: float) -> str:
    place = f'cx="{frame.left(point.x)}" cy="{frame.top(point.y)}"'
    return f'<circle class="{kind}" {place} r="{radius}"/>'


def _segment(frame: _Frame, start: Point, end: Point) -> str:
    first = f'x1="{frame.left(start.x)}" y1="{frame.top(start.y)}"'
    return f'<line class="tuned" {first} x2="{frame.left(end.x)}" y2="{frame.top(end.y)}"/>'


def _steps(frame: _Frame, points: Sequence[Point], across_first: bool = True) -> str:
    if not points:
        return ""
    path = f"M{frame.left(points[0].x)} {frame.top(points[0].y)}"
    for point in points[1:]:
        across, up = f"H{frame.left(point.x)}", f"V{frame.top(point.y)}"
        path += across + up if across_first else up + across
    return f'<path class="front-line" d="{path}"/>'


def _star(x: float, y: float, radius: float) -> str:
    corners = []
    for corner in range(10):
        reach = radius if corner % 2 == 0 else radius * 0.42
        angle = math.pi * (corner / 5 - 0.5)
        corners.append(f"{x + reach * math.cos(angle):.1f} {y + reach * math.sin(angle):.1f}")
    return "M" + "L".join(corners) + "Z"


def _wrapped(frame: _Frame, parts: Sequence[str], alt: str) -> str:
    box = f'viewBox="0 0 {frame.width} {frame.height}"'
    head = f'<svg {box} role="img" aria-label="{html.escape(alt)}">'
    return "\n".join([head, *(part for part in parts if part), "</svg>"])
