"""The front as a plotly figure: plain data, colours named by the page's CSS variables.

A colour is written as the name of a variable ("--pick"); the page's script puts the value in, so
the figure follows the reader's light or dark setting.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from supple.report._front import FrontChart, Point

__all__ = ["COLOURS", "front_figure"]

COLOURS = ("--text", "--muted", "--line", "--card", "--trial", "--front", "--baseline", "--pick")
"""The CSS variables a figure may name."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def front_figure(chart: FrontChart) -> dict[str, Any]:
    """The figure as ``{"data": […], "layout": {…}}``, ready for ``Plotly.newPlot``."""
    return {"data": list(_traces(chart)), "layout": _layout(chart)}


def _traces(chart: FrontChart) -> list[dict[str, Any]]:
    faint = {"color": "--trial", "size": 7, "opacity": 0.55}
    traces = [_scatter("evaluated", chart.trials, "markers", marker=faint)]
    if chart.line:
        traces.append(_staircase(chart))
    traces.append(_scatter("front", chart.front, "markers", marker={"color": "--front", "size": 9}))
    if chart.pick and chart.picked_from and chart.pick != chart.picked_from:
        traces.append(_fine_tuned(chart.picked_from, chart.pick))
    if chart.baseline:
        square = {"symbol": "square", "color": "--baseline", "size": 12}
        traces.append(_named("baseline", chart.baseline, square, "top center"))
    if chart.pick:
        star = {
            "symbol": "star",
            "color": "--pick",
            "size": 18,
            "line": {"color": "--card", "width": 1.5},
        }
        # To the left: a good pick sits just left of the line of its bound.
        traces.append(_named("pick", chart.pick, star, "middle left"))
    return traces


def _scatter(name: str, points: Sequence[Point], mode: str, **style: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": name,
        "mode": mode,
        "x": [point.x for point in points],
        "y": [point.y for point in points],
        "hovertext": [_hover(point) for point in points],
        "hoverinfo": "text",
        **style,
    }


def _named(name: str, point: Point, marker: dict[str, Any], side: str) -> dict[str, Any]:
    return _scatter(name, [point], "markers+text", marker=marker) | {
        "text": [f"<b>{name}</b>"],
        "textposition": side,
        "textfont": {"color": marker["color"], "size": 13},
        "cliponaxis": False,
    }


def _hover(point: Point) -> str:
    # plotly renders a small part of HTML in hover text; names come from the user's own model.
    first, *rest = (html.escape(line, quote=False) for line in point.lines)
    return "<br>".join([f"<b>{first}</b>", *rest])


def _staircase(chart: FrontChart) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "front",
        "mode": "lines",
        "x": [point.x for point in chart.line],
        "y": [point.y for point in chart.line],
        # Between two points of the front, what is reachable is the worse of the two.
        "line": {"shape": "hv" if chart.x_is_cost else "vh", "color": "--front", "width": 1.5},
        "hoverinfo": "skip",
    }


def _fine_tuned(before: Point, after: Point) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "final training of the pick",
        "mode": "lines",
        "x": [before.x, after.x],
        "y": [before.y, after.y],
        "line": {"color": "--pick", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _layout(chart: FrontChart) -> dict[str, Any]:
    axis = {
        "gridcolor": "--line",
        "linecolor": "--line",
        "tickcolor": "--line",
        "zeroline": False,
        "ticks": "outside",
        "automargin": True,
    }
    is_large = any(point.x >= 10_000 for point in chart.points)
    number = {"tickformat": "~s"} if is_large else {}
    layout: dict[str, Any] = {
        "font": {"family": _FONT, "size": 13, "color": "--text"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "--card",
            "bordercolor": "--muted",
            "font": {"color": "--text", "size": 12.5},
        },
        "hovermode": "closest",
        "showlegend": False,  # the page has one, for the still drawing as well
        "xaxis": {**axis, **number, "title": {"text": chart.x_title}},
        "yaxis": {**axis, "title": {"text": chart.y.axis_title}, "range": list(chart.y_range)},
    }
    if chart.bound is not None:
        layout |= _bound_line(chart.bound)
    return layout


def _bound_line(bound: float) -> dict[str, Any]:
    line = {"color": "--muted", "width": 1, "dash": "dash"}
    return {
        "shapes": [
            {"type": "line", "x0": bound, "x1": bound, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": line, "layer": "between"}
        ],
        "annotations": [
            {"x": bound, "y": 0, "yref": "paper", "text": "asked: at most this"}
            | {"showarrow": False, "xanchor": "left", "yanchor": "bottom", "xshift": 4}
            | {"font": {"color": "--muted", "size": 12}}
        ],
    }
