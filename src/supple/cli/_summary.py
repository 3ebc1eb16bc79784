"""A run in the terminal, and as one JSON object for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from supple.report import Result

__all__ = ["print_json", "print_summary", "summary_data"]

_MOST_CUTS = 12


def print_json(data: object) -> None:
    """Print one JSON object: plain numbers, no NaN."""
    print(json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False))


def summary_data(result: Result, run: Path) -> dict[str, Any]:
    """What ``supple show RUN --json`` prints; the whole run is in ``result.json``."""
    whole = json.loads(result.to_json())
    numbers = {trial["number"]: trial for trial in whole["trials"]}
    kept = ("schema", "supple", "created", "status", "task", "command", "asked", "machine")
    return {
        "run": str(run),
        **{key: whole[key] for key in kept},
        "space_size": whole["space_size"],
        "evaluations": sum(1 for trial in result.trials if trial.values),
        "directions": whole["directions"],
        "front": [
            {key: numbers[number][key] for key in ("number", "values", "config")}
            for number in result.front
        ],
        "hypervolume": result.hypervolume.curve[-1][1]
        if result.hypervolume and result.hypervolume.curve
        else None,
        "baseline": whole["baseline"],
        "pick": whole["pick"],
        "cuts": whole["cuts"],
        "warnings": whole["warnings"],
        "files": {path.name: str(path) for path in sorted(run.iterdir()) if path.is_file()},
    }


def print_summary(result: Result, run: Path, console: Console) -> None:
    """Print headline, warnings, comparison and cuts of a run, and where its report is."""
    from rich.table import Table
    from rich.text import Text

    from supple.report import asked_for, extracted_text, headline

    console.print()
    console.print(Text(headline(result), style="bold"))
    for warning in result.warnings:
        console.print(Text(f"! {warning}", style="yellow"))
    console.print()
    asked = Table.grid(padding=(0, 2))
    for term, value in asked_for(result):
        asked.add_row(Text(term, style="dim"), Text(value))
    console.print(asked)
    if result.pick is not None:
        console.print()
        console.print(_comparison(result))
    if result.cuts:
        console.print()
        _print_cuts(result, console)
    if result.pick is not None:
        pick = result.pick
        made = extracted_text(pick.extracted_as, pick.extracted_why, pick.extraction_notes)
        console.print(Text.assemble(("Made of: ", "dim"), made))
    console.print()
    report = run / "report.html"
    if report.is_file():
        console.print(Text.assemble(("Report: ", "dim"), str(report)), soft_wrap=True)
    if result.pick is not None:
        export = f"supple export {run} -o small.onnx"
        console.print(Text.assemble(("Export: ", "dim"), export), soft_wrap=True)


def _table(**settings: Any) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, **settings
    )


def _comparison(result: Result) -> Table:
    from rich.text import Text

    from supple.report import compare

    table = _table()
    table.add_column("")
    for name in ("baseline", "pick", "pick / baseline"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in compare(result):
        cells = (
            (row.baseline, row.baseline_interval, ""),
            (row.pick, row.pick_interval, ""),
            (row.change, row.change_interval, "bold"),
        )
        table.add_row(
            row.label,
            *(
                Text.assemble((value, style), (f" {extra}" if extra else "", "dim"))
                for value, extra, style in cells
            ),
        )
    return table


def _print_cuts(result: Result, console: Console) -> None:
    from rich.text import Text

    from supple.report import cut_rows, dropped_blocks

    rows = [row for row in cut_rows(result.cuts) if row.is_cut]
    table = _table()
    for name in ("choice", "kind", "kept"):
        table.add_column(name)
    for row in rows[:_MOST_CUTS]:
        table.add_row(Text(row.name), Text(row.kind), Text(f"{row.kept} of {row.of}"))
    console.print(Text(f"{len(rows)} of {len(result.cuts)} choices are cut"))
    console.print(table)
    if len(rows) > _MOST_CUTS:
        left = len(rows) - _MOST_CUTS
        console.print(Text(f"… and {left} more, all of them in the report", style="dim"))
    dropped = dropped_blocks(result.layers)
    if dropped:
        console.print(Text(f"Dropped as a whole: {', '.join(dropped)}"))
