"""A result as a page of Markdown, for a repository or a wiki."""

from __future__ import annotations

from supple.report._result import Result
from supple.report._structure import dropped_blocks
from supple.report._tables import compare, cut_rows
from supple.report._wording import asked_for, headline

__all__ = ["render_markdown"]


def render_markdown(result: Result) -> str:
    """Headline, comparison, cuts, machine and command of a run, as Markdown."""
    name = result.task.options.get("model") or result.task.name
    lines = [f"# {result.task.name}: {name}" if name != result.task.name else f"# {name}", ""]
    lines += [headline(result), ""]
    lines += [f"> {warning}" for warning in result.warnings]
    if result.pick is not None:
        lines += ["", *_table(("", "baseline", "pick", "pick / baseline"), _comparison(result))]
    lines += ["", *_table(("asked", ""), [list(row) for row in asked_for(result)])]
    if result.cuts:
        rows = [[r.name, r.kind, f"{r.kept} of {r.of}"] for r in cut_rows(result.cuts) if r.is_cut]
        lines += ["", "What was cut:", "", *_table(("choice", "kind", "kept"), rows)]
        dropped = dropped_blocks(result.layers)
        if dropped:
            lines += ["", f"Dropped as a whole: {', '.join(dropped)}."]
    machine = [[str(key), str(value)] for key, value in result.machine.items() if value is not None]
    lines += ["", f"Measured on {result.created:%d %B %Y} with supple {result.supple}:", ""]
    lines += _table(("machine", ""), machine)
    if result.command:
        lines += ["", "```sh", result.command, "```"]
    return "\n".join(lines) + "\n"


def _comparison(result: Result) -> list[list[str]]:
    return [
        [
            row.label,
            f"{row.baseline} {row.baseline_interval}".strip(),
            f"{row.pick} {row.pick_interval}".strip(),
            f"{row.change} {row.change_interval}".strip(),
        ]
        for row in compare(result)
    ]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
