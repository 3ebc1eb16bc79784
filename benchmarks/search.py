"""What strategies need on tables with known fronts, and what each part of supple's own is worth.

    python benchmarks/search.py compare --seeds 10
    python benchmarks/search.py ablation --seeds 10
    python benchmarks/search.py compare --table results.csv

The built-in tables are made, not recorded: a network of stages whose blocks come and go, a cell
of operations between nodes, and a plain network whose widths cost measured latency. Nothing in
the strategies is fitted to them beyond the choices that the ablation shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supple.search._evolution import Evolution
from supple.search._unseen import random_unseen
from supple.search._variation import Variation
from supple.search.tables import Comparison, RecordedTable, compare, load_table
from supple.seeds import generator
from supple.space import Condition, Depth, Kernel, Space, Swap, Width
from supple.study import hypervolume

SHARES = (0.90, 0.95, 0.99)
AFTER = (50, 100, 200, 500)


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


TABLES: dict[str, Callable[[], Any]] = {"stages": Stages, "cells": Cells, "widths": Widths}


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
    kept = Path("runs/bench-search") / f"best-{type(made).__name__}.json"
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
    "no warp": "gp_ehvi:warps=false",
    "batches of 20": "gp_ehvi:later=20",
    "batches of 5": "gp_ehvi:later=5",
    "linas": "linas",
}


# -- printing ----------------------------------------------------------------------------------


def show(name: str, found: Comparison) -> None:
    """One table: shares after so many measurements, and measurements for a share."""
    counts = [count for count in AFTER if count <= found.evaluations] or [found.evaluations]
    best = "known" if found.is_best_known else "of these runs"
    print(f"\n{name}: share of the best hypervolume ({best}), median and 95 % interval over seeds")
    header = [f"after {count}" for count in counts] + [f"to {share:.0%}" for share in SHARES]
    print(f"{'':22}" + "".join(f"{title:>20}" for title in header))
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
        print(f"{strategy:22}" + "".join(f"{c:>20}" for c in cells) + f"{seconds:>8.0f} s")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare or ablate on every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("compare", "ablation"))
    parser.add_argument("--table", action="append", help="a built-in one or a file; all if absent")
    parser.add_argument("--strategies", nargs="*", help="only these rows")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=500)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = BASELINES if given.what == "compare" else ABLATION
    if given.strategies:
        rows = {name: what for name, what in rows.items() if name in given.strategies}
    for name in given.table or TABLES:
        found = compare(table(name), rows, seeds=range(given.seeds), evaluations=given.evaluations)
        show(name, found)


if __name__ == "__main__":
    main()
