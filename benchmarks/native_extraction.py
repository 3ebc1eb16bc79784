"""Which sub-networks of the architectures of `transformers` come back as their own classes.

    python benchmarks/native_extraction.py [NAME …]      # goes on where it ended
    python benchmarks/native_extraction.py --page        # writes docs/results/native-extraction.md

For every architecture of `tests/elastic/architectures.py` four kinds of sub-network are extracted:

- *alike*: half of every width and of the heads, the same in all layers;
- *unlike*: widths and heads drawn at random, another number in every layer;
- *head sizes*: *alike*, and half of every head size, of queries and values;
- *depth*: half of the layers, everything else whole.

Each is the model's own class only where that was compared with the graph; otherwise the reason is
kept. For *alike* and *depth* the page also says whether `from_pretrained` gives it back.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

KINDS = ("alike", "unlike", "head sizes", "depth")
SAVED = "from_pretrained give this network"


def configs(space: Any) -> dict[str, Any]:
    """The config of each kind that the space has."""
    whole = space.largest
    depths = [name for name in space if name.endswith(".depth")]
    sizes = [name for name in space if "head_size" in name]
    widths = [n for n in space if n not in (*depths, *sizes) and not n.endswith(".kernel")]

    def half(names: Iterable[str]) -> Any:
        return whole.replace({name: nearest(space[name].options) for name in names})

    drawn = space.sample_many(1, np.random.default_rng(1))[0]
    found = {
        "alike": half(widths),
        "unlike": whole.replace({name: drawn[name] for name in widths}),
        "head sizes": half([*widths, *sizes]),
        "depth": half(depths),
    }
    return {kind: config for kind, config in found.items() if config != whole}


def nearest(options: tuple[int, ...]) -> int:
    """The option nearest to half of the full size, ties up."""
    return min(options, key=lambda option: (abs(option - options[-1] / 2), -option))


def survey(name: str) -> dict[str, Any]:
    """What became of each kind of sub-network of one architecture."""
    from supple import Elastic
    from tests.elastic.architectures import ARCHITECTURES, build
    from tests.elastic.coverage import FINE

    row: dict[str, Any] = {"name": name, "family": ARCHITECTURES[name].kind}
    try:
        model, example = build(name)
        net = Elastic(model, example, FINE)
        for kind, config in configs(net.space).items():
            found = net.extraction(config)
            row[kind] = {"kind": found.kind, "why": found.reason, "notes": list(found.notes)}
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}".partition("\n")[0]
    return row


# -- the page ---------------------------------------------------------------------------------
def page(rows: list[Mapping[str, Any]]) -> str:
    """The table and the reasons."""
    done = [row for row in rows if "error" not in row]
    lines = [
        "# Native extraction, over the architectures of transformers",
        "",
        "Which sub-networks come back as the model's own classes, each compared with the graph in",
        "evaluation, in training and on another batch size. Small random configurations; *alike*:",
        "half of every width and of the heads, the same in all layers; *unlike*: another number in",
        "every layer; *head sizes*: half of these too; *depth*: half of the layers. The rest is",
        "given as a module around the graph, with the same weights and outputs.",
        "",
        "| | own classes | of | of these, `from_pretrained` gives it back |",
        "|---|---|---|---|",
    ]
    for kind in KINDS:
        found = [row[kind] for row in done if kind in row]
        native = [one for one in found if one["kind"] == "native"]
        saved = sum(any(SAVED in note for note in one["notes"]) for one in native)
        counted = saved if kind in ("alike", "depth") else ""
        lines.append(f"| {kind} | {len(native)} | {len(found)} | {counted} |")
    lines += ["", "`python benchmarks/native_extraction.py` made this table.", "", "## By name", ""]
    lines += ["| architecture | alike | unlike | head sizes | depth |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['name']} | " + " | ".join(cell(row.get(kind)) for kind in KINDS) + " |"
        for row in done
    ]
    lines += ["", "✓ own classes, and `from_pretrained` gives it back; own: own classes only.", ""]
    lines += [*reasons(done), *problems(rows)]
    return "\n".join(lines)


def cell(found: Mapping[str, Any] | None) -> str:
    """One entry of the table."""
    if found is None:
        return ""
    if found["kind"] == "graph":
        return "graph"
    return "✓" if any(SAVED in note for note in found["notes"]) else "own"


def reasons(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why the graph was given, the most frequent first, with whom it happened to."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for row in rows:
        for kind in ("alike", "unlike", "depth"):
            if kind in row and row[kind]["kind"] == "graph":
                found[short(row[kind]["why"])].append(f"{row['name']} ({kind})")
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    lines = [f"- {reason}: {', '.join(names)}" for reason, names in ordered]
    return ["## Why the graph", "", *lines, ""]


def short(reason: str) -> str:
    """A reason without what differs from model to model."""
    if "also does" in reason:
        return f"a layer does more than its branches, it {reason.partition('also does ')[2]}s"
    if "do not run" in reason:
        line = reason.rpartition(": ")[2]
        return f"does not run when smaller, at `{line}`" if " at /" in reason else reason
    return "computes something else" if "differ by" in reason else reason


def problems(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is not elastic at all."""
    lines = [f"- {row['name']}: {row['error']}" for row in rows if "error" in row]
    return ["## Not captured", "", *lines, ""] if lines else []


def main() -> None:
    """Surveys what is missing and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="architectures; all of them if none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/native-extraction.jsonl"))
    parser.add_argument("--page", action="store_true", help="write the page")
    asked = parser.parse_args()
    from tests.elastic.architectures import ARCHITECTURES

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    kept = asked.out.read_text().splitlines() if asked.out.is_file() else []
    rows = {row["name"]: row for row in map(json.loads, kept)}
    if asked.page:
        target = ROOT / "docs" / "results" / "native-extraction.md"
        target.write_text(page([rows[name] for name in ARCHITECTURES if name in rows]))
        return
    for name in asked.names or ARCHITECTURES:
        if name in rows and not asked.names:
            continue
        row = survey(name)
        print(name, row.get("error") or [cell(row.get(kind)) for kind in KINDS], flush=True)
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
