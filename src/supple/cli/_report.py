"""``supple report MODEL``: what can vary in a model, what cannot, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from supple.cli._bounds import parse_pairs
from supple.cli._exit import Exit
from supple.cli._options import AsJson, pairs

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["report"]

_MOST_NAMES = 3


def report(
    model: str,
    /,
    *,
    option: Annotated[
        Sequence[str], Parameter(negative=(), validator=pairs, show_default=False)
    ] = (),
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
    json: AsJson = False,
) -> int:
    """Show the elastic structure of a model: what can vary, what cannot, and why.

    Nothing is trained and no data are read, but weights that a task has to fetch.

    Parameters
    ----------
    model
        A task such as digits, or a file of your own: my_model.py or my_model.py:object. The file
        needs model() and example(); the object may also be the model itself.
    option
        An option of the task, as in --option width=64.
    out
        Write a page with a drawing of the layers, for instance report.html.
    json
        Print one JSON object.
    """
    from supple.elastic import Elastic
    from supple.tasks._model_only import load_model

    name, network, example = load_model(model, **dict(parse_pairs(list(option))))
    net = Elastic(network, example if isinstance(example, (tuple, dict)) else (example,))
    half = net.extraction(net.space.at_ratio(0.5))
    data = {
        "model": name,
        "class": type(network).__name__,
        **net.report().to_data(),
        "extraction": {"kind": half.kind, "reason": half.reason, "notes": list(half.notes)},
    }
    if out is not None:
        from supple.report import write_structure

        write_structure(data, name, out)
    if json:
        from supple.cli._summary import print_json

        print_json(data)
        return Exit.OK
    from rich.console import Console

    _print(data, Console(highlight=False))
    if out is not None:
        print(f"\nThe page: {out}")
    return Exit.OK


def _print(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from supple.report import cuts_text, elastic_groups, elastic_share, extracted_text

    params, macs = (elastic_share(data, what) for what in ("params", "macs"))
    console.print(
        f"{data['model']} ({data['class']}): {len(data['elastic'])} choices; {params} of "
        f"{data['params']:,} parameters and {macs} of {data['macs']:,} MACs can vary.\n"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("can vary", overflow="fold")
    for head in ("", "kind", "sizes", "parameters", "cuts"):
        table.add_column(head, justify="left" if head == "kind" else "right", no_wrap=True)
    for group in elastic_groups(data["elastic"]):
        row, times = group.items[0], len(group.items)
        table.add_row(
            group.name, f"{times}×" if times > 1 else "", row["kind"].replace("_", " "),
            f"{row['options'][0]}–{row['size']}" if row["kind"] != "swap" else str(row["size"]),
            f"{row['params']:,}", cuts_text(row),
        )  # fmt: skip
    console.print(table)
    _print_fixed(data, console)
    made = extracted_text(**data["extraction"])
    console.print()
    console.print(Text.assemble(("With about half of every choice: ", "dim"), made))
    for note in data["notes"]:
        console.print(f"! {note}", style="yellow", markup=False)


def _print_fixed(data: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    from supple.report import fixed_groups

    if not data["fixed"]:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    groups = fixed_groups(data["fixed"])
    lines = ["your line"] if any(group["where"] for group in groups) else []
    for head in ("fixed", "by", "because it", *lines):
        table.add_column(head, overflow="fold")
    for group in groups:
        where = [group["where"]] if lines else []
        table.add_row(_few(group["patterns"]), group["operator"], group["reason"], *where)
    console.print()
    console.print(table)
    if data["unknown"]:
        console.print("operators without a rule: " + ", ".join(sorted(set(data["unknown"]))))


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    left = len(names) - _MOST_NAMES
    return f"{shown} and {left} more" if left > 0 else shown
