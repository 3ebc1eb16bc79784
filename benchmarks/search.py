"""What strategies need on tables with known fronts, and what each part of supple's own is worth.

    python benchmarks/search.py compare --seeds 10 --out docs/search.md
    python benchmarks/search.py ablation --seeds 10 --out docs/search.md
    python benchmarks/search.py compare --table results.csv
    python benchmarks/search.py driver --out docs/search.md

The built-in tables are made, not recorded: a network of stages whose blocks come and go, a cell
of operations between nodes, a plain network whose widths cost measured latency, a language model
whose layers differ in worth, and a landscape of interactions without any order. ``--out`` writes
what was found into a page, in place of what stood there before; tables and rows that were not
asked for stay. Nothing in the strategies is fitted to them beyond the choices that the ablation
shows.

Every run is kept in ``runs/bench-search`` and not repeated, so a long comparison can be made in
pieces (``--minutes``); delete the folder after a change.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supple.search import strategy as strategy_by_name
from supple.search._evolution import Evolution
from supple.search._unseen import random_unseen
from supple.search._variation import Variation
from supple.search.tables import Comparison, Outcome, RecordedTable, compare, load_table
from supple.seeds import generator
from supple.space import Condition, Depth, Kernel, Space, Swap, Width
from supple.study import Study, hypervolume

SHARES = (0.90, 0.95, 0.99)
AFTER = (50, 100, 200, 300, 500)
KEPT = Path("runs/bench-search")


# -- tables ------------------------------------------------------------------------------------


class Stages:
    """Four stages of up to four blocks with three kernels and three widths each; 10^18 configs.

    Accuracy saturates with what the blocks are worth, and a narrow stage holds the others back.
    """

    directions: ClassVar = {"accuracy": "max", "macs": "min"}
    reference: ClassVar = {"accuracy": 0.60, "macs": 900.0}

    def space(self) -> Space:
        choices: dict[str, Any] = {}
        for stage in range(4):
            choices[f"s{stage}.depth"] = Depth(options=(1, 2, 3, 4), size=4)
            for block in range(4):
                deep = tuple(range(block + 1, 5))
                when = (Condition(choice=f"s{stage}.depth", options=deep),) if block else ()
                name = f"s{stage}.b{block}"
                choices[f"{name}.kernel"] = Kernel(options=(3, 5, 7), when=when)
                choices[f"{name}.width"] = Width(options=(3, 4, 6), when=when)
        return Space(choices)

    def evaluate(self, config: Any) -> dict[str, float]:
        rng = generator(0, "stages")
        worth, macs = rng.gamma(2.0, 0.5, size=(4, 4)), 60.0
        likes_large = rng.random((4, 4)) < 0.6
        strengths = []
        for stage in range(4):
            strength = 0.0
            for block in range(int(config[f"s{stage}.depth"])):
                kernel = config[f"s{stage}.b{block}.kernel"]
                width = config[f"s{stage}.b{block}.width"]
                macs += (12 - 2 * stage) * width * (1 + 0.03 * kernel**2) / 2.2
                fit = 0.25 * (kernel - 3) / 2 * (1 if likes_large[stage, block] else -0.3)
                strength += worth[stage, block] * (np.log(width) + fit)
            strengths.append(strength)
        total, least = sum(strengths), min(strengths)
        accuracy = 0.82 - 0.55 * np.exp(-0.09 * total) - 0.08 * np.exp(-0.8 * least)
        return {"accuracy": float(accuracy + 0.0015 * _wobble(config)), "macs": float(macs)}


class Cells:
    """Six edges between four nodes, each with one of five operations; 15,625 configs.

    Signals pass along paths; what a path is worth is the product of its operations.
    """

    directions: ClassVar = {"accuracy": "max", "flops": "min"}
    reference: ClassVar = {"accuracy": 0.80, "flops": 160.0}
    OPERATIONS = ("none", "skip", "pool", "conv1", "conv3")
    GAIN: ClassVar = {"none": 0.0, "skip": 0.55, "pool": 0.45, "conv1": 0.8, "conv3": 1.0}
    COST: ClassVar = {"none": 0.0, "skip": 0.0, "pool": 1.0, "conv1": 9.0, "conv3": 27.0}
    PATHS = (((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)))

    def space(self) -> Space:
        edges = combinations(range(4), 2)
        return Space({f"e{a}{b}": Swap(options=self.OPERATIONS) for a, b in edges})

    def evaluate(self, config: Any) -> dict[str, float]:
        flow, depth = 0.0, 0.0
        for path in self.PATHS:
            names = [config[f"e{a}{b}"] for a, b in path]
            gain = float(np.prod([self.GAIN[name] for name in names]))
            learned = sum(name.startswith("conv") for name in names)
            flow += gain
            depth += gain * learned
        flops = 8.0 + sum(self.COST[name] for name in config.values())
        if flow == 0.0:
            return {"accuracy": 0.1, "flops": flops}
        accuracy = 0.55 + 0.40 * (1 - np.exp(-0.9 * depth)) * (1 - np.exp(-2 * flow))
        return {"accuracy": float(accuracy + 0.004 * _wobble(config)), "flops": flops}


class Widths:
    """Twelve widths of eight options, and an activation; latency is measured, not counted.

    Latency has steps (kernels work in multiples of 16) and a fixed part per layer.
    """

    directions: ClassVar = {"loss": "min", "latency": "min"}
    reference: ClassVar = {"loss": 0.60, "latency": 16.0}

    def space(self) -> Space:
        choices: dict[str, Any] = {
            f"w{n:02d}": Width(options=tuple(range(8, 72, 8))) for n in range(12)
        }
        choices["activation"] = Swap(options=("relu", "silu", "none"))
        return Space(choices)

    def evaluate(self, config: Any) -> dict[str, float]:
        rng = generator(0, "widths")
        worth = rng.dirichlet(np.ones(12))
        widths = np.array([config[f"w{n:02d}"] for n in range(12)], dtype=float)
        gain = {"relu": 0.0, "silu": 0.012, "none": -0.06}[str(config["activation"])]
        lost = float(worth @ np.exp(-widths / 24)) + 0.15 * float(
            np.exp(-widths.reshape(4, 3).min(axis=1) / 12).mean()
        )
        steps = np.ceil(widths / 16)
        latency = 2.0 + 0.06 * float((steps[:-1] * steps[1:]).sum()) + 0.02 * float(widths.sum())
        latency *= {"relu": 1.0, "silu": 1.05, "none": 0.97}[str(config["activation"])]
        return {
            "loss": 0.1 + lost - gain + 0.002 * _wobble(config),
            "latency": latency * (1 + 0.01 * _wobble(config, "latency")),
        }


class Language:
    """Ten to twelve layers with a width and a number of heads each, and one width for all.

    Layers differ in what they are worth, and neighbours share some of it. 10^12 configs.
    """

    directions: ClassVar = {"perplexity": "min", "macs": "min"}
    reference: ClassVar = {"perplexity": 32.0, "macs": 130.0}
    LAYERS = 12

    def space(self) -> Space:
        choices: dict[str, Any] = {
            "embedding": Width(options=(256, 512, 768)),
            "depth": Depth(options=(10, 11, 12), size=12),
        }
        for layer in range(self.LAYERS):
            deep = tuple(range(layer + 1, 13)) if layer >= 10 else ()
            when = (Condition(choice="depth", options=deep),) if deep else ()
            choices[f"layer{layer}.ratio"] = Width(options=(2, 3, 4), when=when)
            choices[f"layer{layer}.heads"] = Width(options=(4, 8, 12), when=when)
        return Space(choices)

    def evaluate(self, config: Any) -> dict[str, float]:
        rng = generator(0, "language")
        wide, many = rng.gamma(2.0, 0.5, 12), rng.gamma(1.5, 0.5, 12)
        shared = rng.normal(0, 0.25, 11)
        size, depth = int(config["embedding"]), int(config["depth"])
        ratios = np.array([int(config[f"layer{n}.ratio"]) for n in range(depth)])
        heads = np.array([int(config[f"layer{n}.heads"]) for n in range(depth)])
        worth = wide[:depth] * np.log1p(ratios) + 0.6 * many[:depth] * np.log1p(heads / 4)
        both = float(shared[: depth - 1] @ np.minimum(worth[1:], worth[:-1]))
        capacity = float(worth.sum()) + both
        perplexity = 18 + 91 * capacity**-0.8 * (size / 256) ** -0.55
        macs = float((2 * size**2 * ratios + 256 * size * heads).sum()) / 1e6 + 0.05 * size
        return {"perplexity": perplexity * (1 + 0.002 * _wobble(config)), "macs": macs}


class Landscape:
    """Sixteen choices without order, the worth of each depending on two others (Kauffman's NK).

    The dearer options are better by themselves; which ones go together has to be found out.
    """

    directions: ClassVar = {"fitness": "max", "macs": "min"}
    reference: ClassVar = {"fitness": 0.5, "macs": 45.0}
    CHOICES = 16

    def space(self) -> Space:
        return Space({f"x{n:02d}": Swap(options=("a", "b", "c", "d")) for n in range(self.CHOICES)})

    def evaluate(self, config: Any) -> dict[str, float]:
        worth, alone, cost, others = _landscape(self.CHOICES)
        genes = np.array(["abcd".index(config[f"x{n:02d}"]) for n in range(self.CHOICES)])
        every = np.arange(self.CHOICES)
        together = worth[every, genes, genes[others[:, 0]], genes[others[:, 1]]]
        fitness = float((0.5 * together + alone[every, genes]).mean())
        return {"fitness": fitness, "macs": float(cost[every, genes].sum())}


@cache
def _landscape(count: int) -> tuple[Any, Any, Any, Any]:
    rng = generator(0, "landscape")
    others = [
        rng.choice([j for j in range(count) if j != n], 2, replace=False) for n in range(count)
    ]
    return (
        rng.random((count, 4, 4, 4)),
        np.sort(rng.random((count, 4)), axis=1),
        np.cumsum(rng.gamma(2.0, 0.5, (count, 4)), axis=1),
        np.array(others),
    )


TABLES: dict[str, Callable[[], Any]] = {
    "stages": Stages,
    "cells": Cells,
    "widths": Widths,
    "language": Language,
    "landscape": Landscape,
}


def _wobble(config: Any, salt: str = "") -> float:
    """A number from -1 to 1 that is the same for a config each time, as noise is not."""
    return zlib.crc32((salt + repr(tuple(config.values()))).encode()) / 2**31 - 1.0


@cache
def table(name: str) -> RecordedTable:
    """A built-in table by name, or one in a file."""
    if name not in TABLES:
        return load_table(name)
    made = TABLES[name]()
    space = made.space()
    best = None if space.size <= 50_000 else _long_evolution(made, space)
    exact = tuple(n for n in made.directions if n in ("macs", "flops"))
    return RecordedTable(
        space=space,
        directions=made.directions,
        evaluate=made.evaluate,
        reference=made.reference,
        best_hypervolume=best,
        exact=exact,
    )


def _long_evolution(made: Any, space: Space) -> float:
    """The hypervolume that 60,000 true evaluations reach; kept in a file beside the results."""
    kept = KEPT / f"best-{type(made).__name__}.json"
    if kept.is_file():
        return float(json.loads(kept.read_text()))
    vary = Variation(space, crossover=0.9, eta_crossover=15, mutation=None, eta_mutation=20)
    sign = np.array([-1.0 if way == "max" else 1.0 for way in made.directions.values()])

    def losses(rows: Any) -> Any:
        found = [made.evaluate(config) for config in space.from_indices_many(rows)]
        return np.array([[v[n] for n in made.directions] for v in found]) * sign

    rng = generator(0, "best")
    first = random_unseen(space, 198, (), rng)
    ends = space.to_indices_many([space.largest, space.smallest])
    found = Evolution(vary).minimise(losses, np.vstack([ends, first]), 300, rng)
    corner = [made.reference[n] for n in made.directions] * sign
    best = hypervolume(found.losses, corner, ["min"] * len(sign))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(best))
    return best


# -- baselines of other libraries --------------------------------------------------------------


def pymoo_nsga2(recorded: RecordedTable, seed: int, evaluations: int) -> list[Any]:
    """pymoo's NSGA-II with integers; a config measured before costs nothing."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    space, known = recorded.space, {}
    sign = [-1.0 if way == "max" else 1.0 for way in recorded.directions.values()]

    class Full(Exception):
        pass

    class Genes(Problem):
        def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            rows = []
            for config in space.from_indices_many(x):
                if config not in known:
                    if len(known) >= evaluations:
                        raise Full
                    known[config] = recorded.measure(config)
                rows.append([s * v for s, v in zip(sign, known[config].values(), strict=True)])
            out["F"] = np.array(rows)

    top = np.array([len(choice.options) - 1 for choice in space.values()])
    problem = Genes(n_var=len(space), n_obj=len(sign), xl=0, xu=top, vtype=int)
    repair = RoundingRepair()
    method = NSGA2(
        pop_size=50,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=15, vtype=float, repair=repair),
        mutation=PM(eta=20, vtype=float, repair=repair),
        eliminate_duplicates=True,
    )
    with suppress(Full):
        minimize(problem, method, ("n_gen", 200), seed=seed, verbose=False)
    return list(known.values())


BASELINES: dict[str, Any] = {
    "random": "random",
    "Optuna TPE": "TPESampler",
    "Optuna NSGA-II": "NSGAIISampler:population_size=50",
    "pymoo NSGA-II": pymoo_nsga2,
    "nsga2": "nsga2",
    "weaknas": "weaknas:population=100",
    "linas": "linas",
    "linas of the paper": "linas:population=50,random_share=0",
    "gp_ehvi": "gp_ehvi",
}

# What becomes of supple's own strategy without each of its parts.
ABLATION: dict[str, Any] = {
    "gp_ehvi": "gp_ehvi",
    "cost measured": "gp_ehvi:exact=off",
    "corner not known": "gp_ehvi:reference=off",
    "mean, no draws": "gp_ehvi:draws=0",
    "random first batch": "gp_ehvi:covers=false",
    "one process, not an average": "gp_ehvi:averages=false",
    "far losses as they are": "gp_ehvi:warps=false",
    "batches of 20": "gp_ehvi:later=20",
    "batches of 5": "gp_ehvi:later=5",
    "linas": "linas",
}


# -- printing ----------------------------------------------------------------------------------


def lines(name: str, found: Comparison) -> list[str]:
    """One table: shares after so many measurements, and measurements for a share."""
    counts = [count for count in AFTER if count <= found.evaluations] or [found.evaluations]
    best = "best known" if found.is_best_known else "best of these runs"
    titles = [f"after {count}" for count in counts] + [f"to {share:.0%}" for share in SHARES]
    made = [
        f"### {name}",
        "",
        f"Share of the {best} hypervolume in %, and measurements for a share; median of the seeds "
        f"and its 95 % interval; at most {found.evaluations} measurements.",
        "",
        "| | seeds | " + " | ".join(titles) + " | s |",
        "|---|" + "---:|" * (len(titles) + 2),
    ]
    for strategy in found.strategies:
        cells = []
        for count in counts:
            middle, low, high = (100 * v for v in found.share_after(strategy, count))
            cells.append(f"{middle:.1f} ({low:.1f}–{high:.1f})")
        for share in SHARES:
            middle, low, high = (
                f"{v:.0f}" if np.isfinite(v) else "never" for v in found.needed(strategy, share)
            )
            cells.append(f"{middle} ({low}–{high})")
        seconds = found.seconds(strategy)
        seeds = len(found.shares(strategy))
        made.append(f"| {strategy} | {seeds} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    return [*made, *_ratio(found)]


def _ratio(found: Comparison) -> list[str]:
    """What supple's own strategy needs of what WeakNAS needs, where both are there."""
    if not {"gp_ehvi", "weaknas"} <= set(found.strategies):
        return []
    ours, theirs = (found.needed(name, 0.95)[0] for name in ("gp_ehvi", "weaknas"))
    if not np.isfinite(ours):
        return ["", "gp_ehvi does not reach 95 % within these measurements."]
    if np.isfinite(theirs):
        return ["", f"For 95 %, gp_ehvi needs 1/{theirs / ours:.1f} of what WeakNAS needs."]
    least = found.evaluations / ours
    return ["", f"For 95 %, gp_ehvi needs less than 1/{least:.1f} of what WeakNAS needs."]


# -- running -----------------------------------------------------------------------------------


def outcomes(
    name: str, rows: dict[str, Any], seeds: int, evaluations: int, deadline: float
) -> list[Outcome]:
    """A run of each row with each seed; those that were kept, and new ones until the deadline."""
    kept = KEPT / f"{Path(name).stem}-{evaluations}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    known: dict[tuple[str, str, int], Outcome] = {}
    for line in kept.read_text().splitlines() if kept.is_file() else ():
        what, values = json.loads(line)
        key = (values["strategy"], what, values["seed"])
        known[key] = Outcome(**{**values, "volumes": tuple(values["volumes"])})
    made = []
    for (row, what), seed in ((r, s) for s in range(seeds) for r in rows.items()):
        text = what if isinstance(what, str) else what.__name__
        if (row, text, seed) not in known:
            if time.monotonic() > deadline:
                continue
            settings = {"seeds": [seed], "evaluations": evaluations}
            outcome = compare(table(name), {row: what}, **settings).outcomes[0]
            known[row, text, seed] = outcome
            with kept.open("a") as file:
                file.write(json.dumps([text, asdict(outcome)]) + "\n")
        made.append(known[row, text, seed])
    return sorted(made, key=lambda outcome: list(rows).index(outcome.strategy))


def comparison(name: str, found: Sequence[Outcome], evaluations: int) -> Comparison:
    """All runs on one table together."""
    known = table(name).known_hypervolume()
    reached = max(max(outcome.volumes, default=0.0) for outcome in found)
    return Comparison(
        outcomes=tuple(found),
        best=known or reached,
        is_best_known=known is not None,
        evaluations=evaluations,
    )


def write(path: Path, what: str, name: str, made: Sequence[str]) -> None:
    """Put a table between its marks in a page; new marks go to the end of its part."""
    text = path.read_text(encoding="utf-8")
    first, last = f"<!-- {what}: {name} -->", f"<!-- end of {what}: {name} -->"
    block = "\n".join([first, *made, "", last])
    if first in text and last in text:
        before, after = text.split(first)[0], text.split(last)[1]
        text = before + block + after
    else:
        end = f"<!-- end of {what} -->"
        text = text.replace(end, f"{block}\n\n{end}")
    path.write_text(text, encoding="utf-8")


def driver(trials: int) -> list[str]:
    """What the search itself costs: trials stored and read, and one large batch proposed."""
    space = Space({f"w{n:02d}": Width(options=tuple(range(1, 9))) for n in range(17)})

    def evaluate(config: Any) -> dict[str, float]:
        total = float(sum(config.values()))
        return {"loss": float(np.exp(-total / 40)), "macs": total}

    made = [f"Space of {space.size:.1e} configs.", ""]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.db"
        study = Study.open(path, space=space, directions={"loss": "min", "macs": "min"})
        start = time.perf_counter()
        study.run(
            evaluate, strategy_by_name("random", space=space, population=1000), evaluations=trials
        )
        stored = time.perf_counter() - start
        start = time.perf_counter()
        found = len(Study.load(path).trials)
        read = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    made.append(f"- {found} trials stored: {stored:.1f} s ({1e3 * stored / found:.2f} ms each)")
    made.append(f"- read back: {read:.1f} s; the file has {size:.0f} MB")
    study = Study.open(None, space=space, directions={"loss": "min", "macs": "min"})
    study.run(evaluate, strategy_by_name("random", space=space, population=500), evaluations=500)
    sampler = strategy_by_name("gp_ehvi", space=space, population=500, later=50)
    tracemalloc.start()
    start = time.process_time()
    study.run(evaluate, sampler, evaluations=501)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    made.append(f"- a batch of 50 after 500 trials: {seconds:.1f} s, {peak:.0f} MB at its peak")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare or ablate on every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("compare", "ablation", "driver"))
    parser.add_argument("--table", action="append", help="a built-in one or a file; all if absent")
    parser.add_argument("--strategies", nargs="*", help="only these rows")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--trials", type=int, default=10_000, help="of 'driver'")
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no run after that")
    parser.add_argument("--out", type=Path, help="a page to write the tables into")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if given.what == "driver":
        made = driver(given.trials)
        print("\n".join(made))
        if given.out is not None:
            write(given.out, "driver", "cost", made)
        return
    rows = BASELINES if given.what == "compare" else ABLATION
    if given.strategies:
        rows = {name: what for name, what in rows.items() if name in given.strategies}
    deadline = time.monotonic() + 60 * given.minutes
    for name in given.table or TABLES:
        found = outcomes(name, rows, given.seeds, given.evaluations, deadline)
        if not found:
            continue
        made = lines(name, comparison(name, found, given.evaluations))
        print("\n".join(made), end="\n\n", flush=True)
        if given.out is not None:
            write(given.out, given.what, name, made)


if __name__ == "__main__":
    main()
