"""``supple bench-search``: strategies compared on recorded results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from supple.cli._exit import Exit
from supple.cli._options import AsJson, Quiet

if TYPE_CHECKING:
    from supple.search.tables import Comparison, RecordedTable

__all__ = ["bench_search"]

_Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]

DEFAULT = "random,nsga2,TPESampler,linas,gp_ehvi"
AFTER = (50, 100, 200, 500)
SHARES = (0.90, 0.95, 0.99)
# Heights of the curve in a line of text.
BARS = "▁▂▃▄▅▆▇█"
CURVE_POINTS = 40


def bench_search(
    table: str,
    /,
    *,
    strategies: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    seeds: _Positive = 5,
    evaluations: _Positive = 500,
    objectives: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    exact: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    jobs: _Positive = 1,
    curves: Path | None = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare search strategies on a table of recorded results.

    Prints for each strategy the share of the best known hypervolume after 50, 100, 200 and 500
    distinct measurements, and how many measurements it needed for 90, 95 and 99 %: the median
    over the seeds with its 95 % interval. A config measured before costs nothing.

    Parameters
    ----------
    table
        digits_subnets or digits_quantization, which come with supple; a CSV file with columns
        choice.NAME and min.NAME or max.NAME; or file.py:object.
    strategies
        Names such as random, linas, TPESampler or linas:population=50, with spaces or commas
        between them.
    seeds
        Runs of each strategy: seeds 0, 1, 2, …
    evaluations
        Distinct measurements of a run.
    objectives
        Which objectives of the table count, for instance accuracy,macs; all by default.
    exact
        Objectives that are counted, not measured: a strategy may know them beforehand. By default
        those named macs, flops, params or parameters; --exact none for no objective.
    jobs
        Runs at the same time.
    curves
        Write the curves of all strategies to this HTML file.
    json
        Print one JSON object.
    quiet
        Do not say which run is done.
    """
    import sys

    from supple.search.tables import compare, load_table

    wanted = _split(exact)
    found = load_table(
        table, objectives=_split(objectives), exact=[] if wanted == ["none"] else wanted
    )
    asked = _names(strategies or [DEFAULT])
    total = len(asked) * seeds

    done = 0

    def tell(outcome: Any) -> None:
        nonlocal done
        done += 1
        print(
            f"{done}/{total} {outcome.strategy} seed {outcome.seed}: {outcome.seconds:.1f} s",
            file=sys.stderr,
        )

    result = compare(
        found,
        asked,
        seeds=range(seeds),
        evaluations=evaluations,
        jobs=jobs,
        progress=None if quiet else tell,
    )
    if curves is not None:
        _draw(result, curves)
    if json:
        from supple.cli._summary import print_json

        print_json(_data(table, found, result, seeds))
    else:
        _print(table, found, result, seeds)
    return Exit.OK


def _split(texts: list[str] | None) -> list[str] | None:
    if texts is None:
        return None
    return [name for text in texts for name in text.split(",") if name]


def _names(texts: list[str]) -> list[str]:
    """Names separated by spaces or commas; a comma inside settings does not separate."""
    names: list[str] = []
    for text in texts:
        for part in text.split(","):
            if "=" in part and ":" not in part and names:
                names[-1] += f",{part}"
            elif part:
                names.append(part)
    return list(dict.fromkeys(names))


def _counts(result: Comparison) -> list[int]:
    return [count for count in AFTER if count <= result.evaluations] or [result.evaluations]


def _finite(values: tuple[float, float, float]) -> dict[str, float | None]:
    names = ("median", "low", "high")
    return {n: v if math.isfinite(v) else None for n, v in zip(names, values, strict=True)}


def _data(source: str, table: RecordedTable, result: Comparison, seeds: int) -> dict[str, Any]:
    return {
        "table": source,
        "space_size": table.space.size,
        "directions": dict(table.directions),
        "reference": dict(table.reference),
        "exact": list(table.exact),
        "best_hypervolume": result.best,
        "best_is_known": result.is_best_known,
        "seeds": seeds,
        "evaluations": result.evaluations,
        "strategies": {
            name: {
                "share_after": {
                    str(count): _finite(result.share_after(name, count))
                    for count in _counts(result)
                },
                "measurements_for": {
                    f"{share:.2f}": _finite(result.needed(name, share)) for share in SHARES
                },
                "seconds": result.seconds(name),
                "curves": [[round(float(v), 6) for v in row] for row in result.shares(name)],
            }
            for name in result.strategies
        },
    }


def _print(source: str, table: RecordedTable, result: Comparison, seeds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    what = f"{source}: {table.space.size:,} configs, {', '.join(table.directions)}"
    console.print(what, soft_wrap=True)
    if table.exact:
        console.print(f"Counted, not measured: {', '.join(table.exact)}")
    best = "best known" if result.is_best_known else "best of these runs"
    console.print(f"Share of the {best} hypervolume, median of {seeds} seeds and 95 % interval\n")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    for count in _counts(result):
        shown.add_column(f"after {count}", justify="right")
    for share in SHARES:
        shown.add_column(f"to {share:.0%}", justify="right")
    shown.add_column("s", justify="right")
    for name in result.strategies:
        after = [_share(result.share_after(name, count)) for count in _counts(result)]
        needed = [_needed(result.needed(name, share)) for share in SHARES]
        shown.add_row(name, *after, *needed, f"{result.seconds(name):.0f}")
    console.print(shown, soft_wrap=True)
    console.print("\nMedian share from 1 measurement to the last")
    width = max(len(name) for name in result.strategies)
    low = min(float(_median_curve(result, name)[0]) for name in result.strategies)
    for name in result.strategies:
        console.print(f"{name:<{width}}  {_bars(_median_curve(result, name), low)}", soft_wrap=True)


def _share(values: tuple[float, float, float]) -> str:
    median, low, high = (100 * value for value in values)
    return f"{median:.1f} ({low:.1f}–{high:.1f})"


def _needed(values: tuple[float, float, float]) -> str:
    median, low, high = (f"{v:.0f}" if math.isfinite(v) else "never" for v in values)
    return median if low == high == median else f"{median} ({low}–{high})"


def _median_curve(result: Comparison, name: str) -> Any:
    import numpy as np

    return np.median(result.shares(name), axis=0)


def _bars(curve: Any, low: float) -> str:
    points = [curve[round(i * (len(curve) - 1) / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS)]
    span = max(1.0 - low, 1e-9)
    heights = [int((point - low) / span * len(BARS)) for point in points]
    return "".join(BARS[min(max(height, 0), len(BARS) - 1)] for height in heights)


def _draw(result: Comparison, path: Path) -> None:
    """The curves with the range from the lower to the upper quartile of the seeds."""
    import numpy as np
    import plotly.graph_objects as go

    figure = go.Figure()
    at = list(range(1, result.evaluations + 1))
    for number, name in enumerate(result.strategies):
        shares = result.shares(name)
        low, middle, high = np.quantile(shares, [0.25, 0.5, 0.75], axis=0)
        group = {"legendgroup": name, "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(x=at, y=low, showlegend=False, **group)
        figure.add_scatter(x=at, y=high, showlegend=False, fill="tonexty", opacity=0.2, **group)
        figure.add_scatter(x=at, y=middle, name=name, legendgroup=name, legendrank=number)
    figure.update_layout(
        xaxis_title="distinct measurements", yaxis_title="share of the best hypervolume"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs=True)
