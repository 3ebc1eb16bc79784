"""The figure of a claim, as SVG text: a dot per seed, or a line per arm with its interval."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Dots", "Lines", "dots_svg", "lines_svg"]

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 30, 52
_COLOURS = ("#0b6e99", "#d1495b", "#6a8d2f", "#8e5ea2", "#c77d1a", "#4a5568", "#2a9d8f", "#9c6644")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.mean{stroke-width:3}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}}"
)


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One dot per seed and arm, with the mean of each arm.

    Attributes:
        metric: What to show.
        title: Of the value's axis; by default the metric.
        log: Whether that axis is logarithmic.
    """

    metric: str
    title: str = ""
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Lines:
    """One line per arm: a curve metric's mean over seeds, and the range of the seeds around it.

    Attributes:
        metric: A metric whose values are curves, ``[(x, y), ...]``, with the same x in all seeds.
        x: Title of the horizontal axis.
        title: Title of the vertical axis; by default the metric.
        log: Whether the vertical axis is logarithmic.
        log_x: Whether the horizontal axis is logarithmic.
    """

    metric: str
    x: str
    title: str = ""
    log: bool = False
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Maps values to drawing units, on a linear or a logarithmic scale."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, log: bool) -> _Axis:
        usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [0.0, 1.0]
        log = log and min(usable) > 0
        scaled = [math.log10(v) for v in usable] if log else usable
        low, high = min(scaled), max(scaled)
        margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        return cls(low=low - margin, high=high + margin, start=start, end=end, log=log)

    def at(self, value: float) -> float:
        scaled = math.log10(value) if self.log else value
        share = (scaled - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def shows(self, value: float) -> bool:
        return math.isfinite(value) and (value > 0 or not self.log)

    def ticks(self) -> list[float]:
        from supple.report._svg import ticks

        if not self.log:
            return ticks(self.low, self.high)
        powers = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        if len(powers) >= 2:
            return [10.0**power for power in powers]
        return [v for v in ticks(10.0**self.low, 10.0**self.high) if v > 0]


def dots_svg(spec: Dots, values: Mapping[str, Sequence[float]], alt: str) -> str:
    """Arms beside each other, one dot per seed; what is not finite is left out."""
    every = [v for one in values.values() for v in one]
    y = _Axis.over(every, _HEIGHT - _BOTTOM, _TOP, spec.log)
    parts = _grid(y, spec.title or spec.metric)
    wide = (_WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    for place, (arm, one) in enumerate(values.items()):
        middle = _LEFT + (place + 0.5) * wide
        colour = _COLOURS[place % len(_COLOURS)]
        shown = [v for v in one if y.shows(v)]
        for seed, value in enumerate(shown):
            x = middle + (seed - (len(shown) - 1) / 2) * min(14.0, 0.5 * wide / len(shown))
            parts.append(f'<circle cx="{x:.1f}" cy="{y.at(value)}" r="5" fill="{colour}"/>')
        if shown:
            mean = y.at(math.fsum(shown) / len(shown))
            ends = f'x1="{middle - 0.3 * wide:.1f}" x2="{middle + 0.3 * wide:.1f}"'
            parts.append(
                f'<line class="mean" {ends} y1="{mean}" y2="{mean}" stroke="{colour}" '
                'stroke-opacity="0.55"/>'
            )
        for line, words in enumerate(textwrap.wrap(arm, max(8, int(wide / 7.5)))):
            parts.append(_text(middle, _HEIGHT - _BOTTOM + 22 + 15 * line, words, "middle"))
    return _wrapped(parts, alt)


def lines_svg(
    spec: Lines, curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], alt: str
) -> str:
    """For each arm the mean curve, and a band from the lowest to the highest seed."""
    points = [p for one in curves.values() for curve in one for p in curve]
    x = _Axis.over([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, spec.log_x)
    y = _Axis.over([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP, spec.log)
    parts = _grid(y, spec.title or spec.metric)
    for value in x.ticks():
        parts.append(_text(x.at(value), _HEIGHT - _BOTTOM + 18, f"{value:g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 24, spec.x, "middle"))
    legend = float(_LEFT)
    for place, (arm, one) in enumerate(curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        parts += _line(x, y, one, colour)
        parts.append(
            f'<rect x="{legend}" y="{_HEIGHT - 15}" width="12" height="4" fill="{colour}"/>'
        )
        parts.append(_text(legend + 17, _HEIGHT - 8, arm))
        legend += 40 + 7.5 * len(arm)
    return _wrapped(parts, alt)


def _line(
    x: _Axis, y: _Axis, seeds: Sequence[Sequence[tuple[float, float]]], colour: str
) -> list[str]:
    at: dict[float, list[float]] = {}
    for curve in seeds:
        for point, value in curve:
            if x.shows(point) and y.shows(value):
                at.setdefault(point, []).append(value)
    places = sorted(at)
    if not places:
        return []
    low = [f"{x.at(p)},{y.at(min(at[p]))}" for p in places]
    high = [f"{x.at(p)},{y.at(max(at[p]))}" for p in places]
    mean = [f"{x.at(p)},{y.at(math.fsum(at[p]) / len(at[p]))}" for p in places]
    band = " ".join([*low, *reversed(high)])
    return [
        f'<polygon points="{band}" fill="{colour}" fill-opacity="0.16"/>',
        f'<polyline points="{" ".join(mean)}" fill="none" stroke="{colour}" stroke-width="2"/>',
    ]


def _grid(y: _Axis, title: str) -> list[str]:
    parts = [_text(_LEFT - 60, _TOP - 12, title)]
    for value in y.ticks():
        at = y.at(value)
        ends = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"'
        parts.append(f'<line class="grid" {ends}/>')
        parts.append(_text(_LEFT - 8, at + 4, f"{value:g}".replace("-", "−"), "end"))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    place = f'x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}"'
    return f"<text {place}>{html.escape(text)}</text>"


def _wrapped(parts: Sequence[str], alt: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(alt)}"><style>{_STYLE}</style>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
