"""Record a table of supple's own: every sub-network of a digits super-network, measured here.

    python benchmarks/make_tables.py runs/tables/digits.csv
    supple bench-search runs/tables/digits.csv --strategies gp_ehvi,linas,random

A residual network is trained on scikit-learn's digits, all its sub-networks on shared weights; the
space is then narrowed to 648 configs. Each is taken out, its batch norm statistics are computed
anew, and its accuracy on the validation images, its multiply-accumulates and its latency relative
to the whole network are recorded. Stopped at any moment, the same command goes on. A line is
written once a config is finished, so a file that is not complete is a smaller table.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supple import Elastic, Space
from supple.elastic.training import Recipe, Sandwich, train
from supple.measure import Accuracy, Latency
from supple.pipeline._objectives import Evaluation
from supple.tasks import load

# What stays elastic; everything else keeps its full size.
KEPT: dict[str, tuple[int, ...]] = {
    "stage1.depth": (0, 1, 2),
    "stage2.depth": (0, 1),
    "stage3.depth": (0, 1),
    "stem.width": (4, 8, 16),
    "stage2.0.conv2.width": (8, 16, 32),
    "stage3.0.conv1.width": (16, 64),
    "stage3.0.conv2.width": (16, 32, 64),
}
OBJECTIVES = ("accuracy", "macs", "latency")
HEADER = ("max.accuracy", "min.macs", "min.latency")


def narrowed(space: Space) -> Space:
    """The space with full size wherever ``KEPT`` does not say otherwise."""
    return space.restrict({name: KEPT.get(name, (space[name].largest,)) for name in space})


def super_network(folder: Path, epochs: float, seed: int) -> tuple[Elastic, Any, Any]:
    """The trained super-network, from its file if it is there, its model and its task."""
    task = load("digits", width=16, epochs=20, seed=seed)
    network = task.model().eval()
    example = task.example()
    net = Elastic(network, example if isinstance(example, tuple | list) else (example,))
    weights = folder / f"digits-{epochs:g}-{seed}.safetensors"
    if weights.exists():
        net.load(weights)
    else:
        recipe = Recipe(epochs=epochs, lr=0.05, weight_decay=5e-4, warmup=0.1)
        train(net, task.train(), task.loss, Sandwich(), recipe, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        net.save(weights)
    return net.eval(), network, task


def evaluation(net: Elastic, network: Any, task: Any) -> Evaluation:
    """What measures a sub-network, as the main job does it."""
    example = task.example()
    example = example if isinstance(example, tuple | list) else (example,)
    return Evaluation(
        net=net,
        baseline=network,
        objectives=OBJECTIVES,
        accuracy=Accuracy(loader=task.valid(), metric=task.metric),
        latency=Latency(example=example, threads=1, max_seconds=0.3),
        example=example,
        calibration=list(islice(task.train(), 4)),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure what is not in the file yet, and say how far it got."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=8, help="of measuring")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    net, network, task = super_network(given.out.parent, given.epochs, given.seed)
    end = time.monotonic() + 60 * given.minutes
    space = narrowed(net.space)
    names = [name for name in space if len(space[name].options) > 1]
    known = _known(given.out, names)
    measure = evaluation(net, network, task)
    with given.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow([*(f"choice.{name}" for name in names), *HEADER])
        for config in space.configs():
            row = tuple(str(config[name]) for name in names)
            if row in known:
                continue
            if time.monotonic() > end:
                break
            values, _ = measure(net.space.validate(config))
            writer.writerow([*row, *(f"{values[name]:.6g}" for name in OBJECTIVES)])
            file.flush()
            known.add(row)
    print(f"{len(known)} of {space.size} configs in {given.out}")


def _known(path: Path, names: Sequence[str]) -> set[tuple[str, ...]]:
    """The configs in a file that was begun, whose last line may be torn."""
    if not path.exists() or not path.stat().st_size:
        return set()
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = [line for line in lines if line.count(",") == len(names) + len(HEADER) - 1]
    path.write_text("\n".join(whole) + "\n", encoding="utf-8")
    return {tuple(line.split(",")[: len(names)]) for line in whole[1:]}


if __name__ == "__main__":
    main()
