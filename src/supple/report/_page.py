"""The report: one HTML file that holds everything it shows and asks nothing of the network.

A content policy inside the page forbids requests, so a report can be mailed, archived and opened
years later. Without scripts (a mail preview, a printer) a still drawing stands in for the plot.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from supple.report._figure import front_figure
from supple.report._files import write_whole
from supple.report._front import FrontChart, front_chart
from supple.report._numbers import duration, exact_or_power, percent, plain
from supple.report._result import Hypervolume, Result
from supple.report._structure import describe_config, dropped_blocks, full_sizes
from supple.report._svg import curve_svg, front_svg
from supple.report._tables import compare, cut_rows, layer_rows
from supple.report._wording import asked_for, extracted_text, headline, subline

__all__ = ["render_report", "write_report"]

_TILES = ("latency_ms", "test_accuracy", "params", "file_bytes")
# Longer tables start folded, so that the page keeps its overview.
_OPEN_ROWS = 24


def write_report(result: Result, path: str | Path) -> Path:
    """Write the report of a run as one self-contained HTML file; returns its path.

    Args:
        result: What the run found.
        path: The file to write, usually ``runs/<name>/report.html``.

    Raises:
        StudyError: The file cannot be written; an older report is untouched.
    """
    path = Path(path)
    write_whole(path, render_report(result))
    return path


def render_report(result: Result) -> str:
    """The report of a run as HTML text."""
    from plotly.offline import get_plotlyjs

    chart = front_chart(result)
    page: str = _template().render(
        result=result,
        headline=headline(result),
        subline=subline(result),
        asked=asked_for(result),
        comparison=compare(result),
        tiles=[row for row in compare(result) if row.key in _TILES],
        chart=chart,
        figure=_script_json(front_figure(chart)),
        front_still=front_svg(chart, _front_alt(chart)),
        front_rows=_front_rows(result, chart),
        cuts=cut_rows(result.cuts),
        layers=layer_rows(result.layers),
        dropped=dropped_blocks(result.layers),
        hypervolume=_hypervolume(result.hypervolume),
        extracted=_extracted(result),
        machine=[(key.replace("_", " "), value) for key, value in result.machine.items()],
        seconds=[(stage, duration(value)) for stage, value in result.seconds.items()],
        open_rows=_OPEN_ROWS,
        css=_read("page.css"),
        script=_read("page.js"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
    )
    return page


def _extracted(result: Result) -> str:
    pick = result.pick
    if pick is None:
        return ""
    return extracted_text(pick.extracted_as, pick.extracted_why, pick.extraction_notes)


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"tie": _tie, "share": lambda share: percent(share, 0), "plain": plain}
    return environment.get_template("report.html")


def _read(name: str) -> str:
    return (files("supple.report") / "templates" / name).read_text(encoding="utf-8")


def _tie(text: str) -> str:
    """Numbers with their unit, and ranges, in one piece: no line breaks inside them."""
    text = re.sub(r"(?<=\d) (?=[%×µ]|[kMGT]?B\b|[kMG]\b|m?s\b)", "\u00a0", text)
    return re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)


def _script_json(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _front_alt(chart: FrontChart) -> str:
    count = len(chart.trials) + len(chart.front)
    return (
        f"{chart.y.label} over {chart.x.label if chart.x else 'evaluations'} of {count} evaluated "
        f"sub-networks, {len(chart.front)} of them on the front. The same numbers are in the table "
        f"below."
    )


def _front_rows(result: Result, chart: FrontChart) -> list[dict[str, Any]]:
    """The front as a table: the same content as the plot, for those who read rather than hover."""
    sizes = full_sizes(result)
    rows = []
    for point in chart.front:
        assert point.number is not None  # points of the front are trials
        trial = result.trial(point.number)
        shown = [chart.y.show(trial.values[chart.y.name])]
        if chart.x is not None:
            shown.append(chart.x.show(trial.values[chart.x.name]))
        is_pick = result.pick is not None and result.pick.trial == trial.number
        kept = describe_config(trial.config, sizes)
        rows.append({"number": trial.number, "values": shown, "kept": kept, "is_pick": is_pick})
    return rows


def _hypervolume(hypervolume: Hypervolume | None) -> dict[str, Any] | None:
    if hypervolume is None or not hypervolume.curve:
        return None
    count, last = hypervolume.curve[-1]
    alt = f"Hypervolume over evaluations, {plain(last)} after {count}."
    reference = ", ".join(f"{k} {plain(v)}" for k, v in hypervolume.reference.items())
    svg = curve_svg(hypervolume.curve, "evaluations", "hypervolume", alt)
    return {
        "svg": svg,
        "last": plain(last),
        "count": exact_or_power(count),
        "reference": reference,
    }
