"""What of public architectures becomes elastic, and whether it is right.

    python benchmarks/coverage.py --json runs/coverage.json --markdown docs/coverage.md [NAME …]

The architectures are the classic convolutional families, re-stated small, and those of
``transformers`` from small random configurations. Each runs in a process of its own; `Elastic`
gives up after a minute by itself. The table says for each: the time of ``Elastic``; whether the
largest network is the model bit for bit; whether ``at`` and ``extract`` agree (half of every axis,
the smallest, two random configs), with gradients; whether units that were switched off in the full
graph, some of every axis, can be cut without a trace; the share of parameters under an elastic
width and under any choice; and what was left whole by which operator. Rows that the JSON file
holds already are not measured again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import multiprocessing
import os
import re
import sys
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "transformers", "supple.elastic", "tests.elastic.warm"])
LIMIT_S = 150  # for all that is tried on one architecture, on a busy machine


# -- one architecture -------------------------------------------------------------------------
def survey(name: str) -> dict[str, Any]:
    """Everything the table says of one architecture."""
    import transformers

    from supple import Elastic
    from tests.elastic.architectures import build, kind_of
    from tests.elastic.coverage import FINE, agreement, dead_units, gradients, largest
    from tests.elastic.oracles import doubled

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    row: dict[str, Any] = {"name": name, "kind": kind_of(name)}
    model, example = build(name)
    row["params"] = sum(p.numel() for p in model.parameters())
    start = time.perf_counter()
    net = Elastic(model, example, FINE)
    row["elastic_s"] = time.perf_counter() - start
    row |= shares(net)
    row["largest"] = largest(net, model, example)
    row["agree"] = agreement(net, example)
    row["gradients"] = gradients(net, example)
    row["dead"] = dead_units(net, model, example)
    if max(row["agree"], row["dead"]) >= 1e-4:  # rounding, or wrong? Double precision tells.
        model, example = doubled(model), doubled(example)
        net = Elastic(model, example, FINE)
        row["in_double"] = max(agreement(net, example), dead_units(net, model, example))
    return row


def shares(net: Any) -> dict[str, Any]:
    """What is elastic: shares of the parameters, counts of choices, reasons of the rest."""
    report = net.report()
    parameters = set(net.structure.parameters)
    sizes = {n: t.numel() for n, t in net.named_weights()}
    wide = {m.tensor for axis in net.structure.axes for m in axis.members} & parameters
    rest = [n for n in sizes if n not in wide]
    reasons = collections.Counter()
    for fixed in report.fixed:
        name = fixed.name.partition("[")[0]
        if name in rest:
            reasons[f"{fixed.operator}: {fixed.reason}"] += sizes[name]
    return {
        "wide": sum(sizes[n] for n in wide) / max(1, report.params),
        "any": report.elastic_params / max(1, report.params),
        "choices": len(report.elastic),
        "stages": sum(r.kind == "depth" for r in report.elastic),
        "unknown": sorted(set(report.unknown)),
        "notes": list(report.notes),
        "reasons": [text for text, _ in reasons.most_common(3)],
        "all_reasons": [
            f"{f.name} {f.size} {f.operator}: {f.reason} {f.where}" for f in report.fixed
        ],
    }


def in_process(name: str) -> dict[str, Any]:
    """The same in a process of its own, which may fail or hang."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_send_survey, args=(name, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LIMIT_S):
            return {"name": name, "error": f"no answer in {LIMIT_S} s"}
        row: dict[str, Any] = receiver.recv()
        return row
    except EOFError:
        return {"name": name, "error": "the process died"}
    finally:
        process.kill()
        process.join()


def _send_survey(name: str, sender: Any) -> None:
    warnings.simplefilter("ignore")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the exporter prints what it could not do
            sender.send(survey(name))
    except Exception as error:
        sender.send({"name": name, "error": _shown(error)})


def _shown(error: Exception) -> str:
    """An error in one line, without where packages lie on this machine."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"/\S*/(?=[\w-]+\.py)", "", text)


# -- the table --------------------------------------------------------------------------------
def is_right(row: dict[str, Any]) -> bool:
    """Everything that was tried came out as promised."""
    if "error" in row or row["largest"] > 1e-5:
        return False
    return max(row["agree"], row["dead"]) < 1e-4 or row.get("in_double", 1.0) < 1e-10


def is_refused(row: dict[str, Any]) -> bool:
    """torch.export itself cannot capture the model."""
    return "torch.export cannot capture" in row.get("error", "")


def show(row: dict[str, Any]) -> str:
    """One line of the table."""
    if "error" in row:
        return f"{row['name']:<22} FAILED  {row['error'][:300]}".replace("\n", " ")
    numbers = " ".join(f"{row[k]:8.1e}" for k in ("largest", "agree", "dead"))
    reasons = "; ".join([*row["reasons"], *(f"no rule: {n}" for n in row["unknown"])])
    return (
        f"{row['name']:<22} {row['elastic_s']:6.1f} {numbers} "
        f"{row['wide']:6.1%} {row['any']:6.1%} {row['choices']:4} {row['stages']:3} "
        f"{'' if is_right(row) else 'WRONG '}{row['gradients']} {reasons[:110]}"
    )


def summary(rows: Iterable[dict[str, Any]]) -> str:
    """Counts over the table."""
    rows = list(rows)
    done = [r for r in rows if "error" not in r]
    refused = sum(map(is_refused, rows))
    return (
        f"{len(rows)} architectures; torch.export captures {len(rows) - refused}. Of these "
        f"{len(done)} are elastic and {sum(map(is_right, rows))} exact throughout; "
        f"{sum(not r['gradients'] for r in done)} give gradients; "
        f"{sum(r['wide'] >= 0.9 for r in done)} have at least 90 % of their parameters "
        f"under an elastic width, {sum(r['any'] >= 0.9 for r in done)} under any choice; "
        f"{sum(r['elastic_s'] < 60 for r in done)} take less than a minute"
    )


def markdown(rows: Iterable[dict[str, Any]]) -> str:
    """The table as a page of the documentation."""
    rows = sorted(rows, key=lambda r: (r.get("kind", "~"), r["name"]))
    done = [r for r in rows if "error" not in r]
    import transformers

    lines = [
        "# What becomes elastic",
        "",
        "Made by `python benchmarks/coverage.py --json runs/coverage.json --markdown "
        f"docs/coverage.md` with torch {torch.__version__.partition('+')[0]} and transformers "
        f"{transformers.__version__}.",
        "",
        f"{summary(rows)}.",
        "",
        "- *at = extract*: largest difference between a sub-network on shared weights and the "
        "same one extracted, of four configs, relative to the output's scale.",
        "- *dead*: the same between a network from which units were cut, at random in every "
        "axis, and the whole network with those units switched off.",
        "- *width*: share of the parameters with a dimension that may be cut; *any*: that or "
        "inside a block that may be skipped.",
        "- *s*: seconds for `Elastic` with all its checks, on one thread of a shared machine.",
        "",
        "| architecture | kind | choices | width | any | at = extract | dead | s |",
        "|---|---|---|---|---|---|---|---|",
        *(_line(r) for r in done),
        "",
        "## Less than 90 % of the parameters under a width",
        "",
        *(_reason(r) for r in done if r["wide"] < 0.9),
        "",
        "## Exact in double precision only",
        "",
        *(
            f"- `{r['name']}`: {r['in_double']:.0e} in double precision; a cut leaves so few "
            "weights to standardise that rounding shows in single precision."
            for r in done
            if r.get("in_double", 1.0) < 1e-10
        ),
        "",
        "## Refused",
        "",
        *(f"- `{r['name']}`: {r['error']}" for r in rows if "error" in r),
        "",
        "## Not trained",
        "",
        *(f"- `{r['name']}`: {r['gradients']}" for r in done if r["gradients"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    mark = "" if is_right(row) else " **wrong**"
    return (
        f"| {row['name']}{mark} | {row['kind']} | {row['choices']} | {row['wide']:.1%} | "
        f"{row['any']:.1%} | {row['agree']:.0e} | {row['dead']:.0e} | "
        f"{row['elastic_s']:.1f} |"
    )


def _reason(row: dict[str, Any]) -> str:
    return f"- `{row['name']}`, {row['wide']:.1%}: {'; '.join(row['reasons']) or 'no reason'}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all of them if none is given")
    parser.add_argument("--json", type=Path, help="keep the rows in this file")
    parser.add_argument("--markdown", type=Path, help="write the page of the documentation")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    given = parser.parse_args()
    from tests.elastic.architectures import ALL_NAMES

    rows: dict[str, dict[str, Any]] = {}
    if given.json and given.json.exists():
        rows = {row["name"]: row for row in json.loads(given.json.read_text())}
    missing = [name for name in given.names or ALL_NAMES if name not in rows]
    print(
        f"{'architecture':<22} {'s':>6} {'largest':>8} {'at=extr':>8} "
        f"{'dead':>8} {'width':>6} {'any':>6} choices, stages; what is left whole"
    )
    with ThreadPoolExecutor(given.jobs) as pool:
        for row in pool.map(in_process, missing):
            rows[row["name"]] = row
            print(show(row), flush=True)
            if given.json:
                _write(given.json, json.dumps(list(rows.values()), indent=1))
    print(summary(rows.values()))
    if given.markdown:
        _write(given.markdown, markdown(rows.values()))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
