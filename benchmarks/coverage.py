"""What of the architectures of `transformers` becomes elastic, and whether it is right.

    python benchmarks/coverage.py [NAME …]

Every architecture runs in a process of its own, with a minute for making it elastic. The table
says for each: the time of ``torch.export`` alone and of ``Elastic``; whether the largest network is
the model bit for bit; whether ``at`` and ``extract`` agree (half of every axis, the smallest, two
random configs), with gradients; whether units that were switched off in the full graph, some of
every axis, can be cut without a trace; the share of parameters under an elastic width and under
any choice; and what was left whole by which operator.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import multiprocessing
import os
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
PROCESSES.set_forkserver_preload(["torch", "transformers", "supple.elastic"])
LIMIT_S = 150  # for all that is tried on one architecture, on a busy machine


# -- one architecture -------------------------------------------------------------------------
def survey(name: str) -> dict[str, Any]:
    """Everything the table says of one architecture."""
    import transformers

    from supple import Elastic
    from tests.elastic.architectures import ARCHITECTURES, build
    from tests.elastic.coverage import FINE, agreement, dead_units, gradients, largest

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    row: dict[str, Any] = {"name": name, "kind": ARCHITECTURES[name].kind}
    model, example = build(name)
    row["params"] = sum(p.numel() for p in model.parameters())
    start = time.perf_counter()
    with torch.no_grad():
        torch.export.export(model, (), dict(example), strict=False)
    row["export_s"] = time.perf_counter() - start
    start = time.perf_counter()
    net = Elastic(model, example, FINE)
    row["elastic_s"] = time.perf_counter() - start
    row |= shares(net)
    row["largest"] = largest(net, model, example)
    row["agree"] = agreement(net, example)
    row["gradients"] = gradients(net, example)
    row["dead"] = dead_units(net, model, example)
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
        if fixed.name.rpartition("[")[0] in rest:
            reasons[f"{fixed.operator}: {fixed.reason}"] += sizes[fixed.name.rpartition("[")[0]]
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
        sender.send({"name": name, "error": f"{type(error).__name__}: {error}"})


# -- the table --------------------------------------------------------------------------------
def is_right(row: dict[str, Any]) -> bool:
    """Everything that was tried came out as promised."""
    return "error" not in row and row["largest"] == 0.0 and max(row["agree"], row["dead"]) < 1e-4


def show(row: dict[str, Any]) -> str:
    """One line of the table."""
    if "error" in row:
        return f"{row['name']:<22} FAILED  {row['error'][:300]}".replace("\n", " ")
    numbers = " ".join(f"{row[k]:8.1e}" for k in ("largest", "agree", "dead"))
    reasons = "; ".join([*row["reasons"], *(f"no rule: {n}" for n in row["unknown"])])
    return (
        f"{row['name']:<22} {row['export_s']:6.1f} {row['elastic_s']:6.1f} {numbers} "
        f"{row['wide']:6.1%} {row['any']:6.1%} {row['choices']:4} {row['stages']:3} "
        f"{'' if is_right(row) else 'WRONG '}{row['gradients']} {reasons[:110]}"
    )


def summary(rows: Iterable[dict[str, Any]]) -> str:
    """Counts over the table."""
    rows = list(rows)
    done = [r for r in rows if "error" not in r]
    return (
        f"{len(rows)} architectures: {len(done)} elastic, {sum(map(is_right, rows))} exact "
        f"throughout, {sum(r['wide'] >= 0.9 for r in done)} with at least 90 % of their parameters "
        f"under an elastic width, {sum(r['any'] >= 0.9 for r in done)} under any choice; "
        f"{sum(r['elastic_s'] < 60 for r in done)} in under a minute"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all of them if none is given")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    given = parser.parse_args()
    from tests.elastic.architectures import ARCHITECTURES

    print(
        f"{'architecture':<22} {'export':>6} {'all s':>6} {'largest':>8} {'at=extr':>8} "
        f"{'dead':>8} {'width':>6} {'any':>6} choices, stages; what is left whole"
    )
    rows = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for row in pool.map(in_process, given.names or ARCHITECTURES):
            rows.append(row)
            print(show(row), flush=True)
    print(summary(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
