"""Record the tables of supple's own: sub-networks of a digits super-network, measured here.

    python benchmarks/make_tables.py runs/tables/digits_subnets.csv
    python benchmarks/make_tables.py runs/tables/digits_quantization.csv --quantization
    cp runs/tables/*.csv src/supple/search/tables/data/
    supple bench-search digits_subnets --strategies gp_ehvi,linas,random

A residual network is trained on scikit-learn's digits, all its sub-networks on shared weights; the
space is then narrowed to 216 configs. Each is taken out, its batch norm statistics are computed
anew, and its accuracy on the validation images, its multiply-accumulates and its latency relative
to the whole network are recorded. With ``--quantization``, it is 2 sub-networks and, for each of
their stages, int8 or float32: 64 policies of one network, each run by ONNX Runtime; recorded are
accuracy, latency relative to the whole network in float32, and bytes of the file. Stopped at any
moment, the same command goes on. A line is written once a config is finished, so a file that is
not complete is a smaller table.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supple import Elastic, Space
from supple.compress.quantize.onnx_graph import record
from supple.elastic.batch_norm import recalibrate
from supple.elastic.training import Recipe, Sandwich, train
from supple.measure import Accuracy, Latency
from supple.pipeline._int8 import Int8
from supple.pipeline._objectives import Evaluation
from supple.tasks import load

# What stays elastic; everything else keeps its full size.
KEPT: dict[str, tuple[int, ...]] = {
    "stage1.depth": (0,),
    "stage2.depth": (0, 1),
    "stage3.depth": (0, 1),
    "stem.width": (4, 8, 16),
    "stage2.0.conv2.width": (8, 16, 32),
    "stage3.0.conv1.width": (16, 64),
    "stage3.0.conv2.width": (16, 32, 64),
}
# The same for the table of quantization policies.
KEPT_QUANTIZED: dict[str, tuple[int, ...]] = {
    "stage1.depth": (0,),
    "stage3.0.conv2.width": (32, 64),
}
OBJECTIVES = ("accuracy", "macs", "latency")
HEADER = ("max.accuracy", "min.macs", "min.latency")
QUANTIZED_HEADER = ("max.accuracy", "min.latency", "min.bytes")

Row = tuple[str, ...]
Measure = Callable[[Row], tuple[float, ...]]


def narrowed(space: Space, kept: Mapping[str, tuple[int, ...]]) -> Space:
    """The space with full size wherever ``kept`` does not say otherwise."""
    return space.restrict({name: kept.get(name, (space[name].largest,)) for name in space})


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


def sub_networks(net: Elastic, network: Any, task: Any) -> tuple[list[str], list[Row], Measure]:
    """The columns, the rows and what measures a row, as the main job does it."""
    example = task.example()
    example = example if isinstance(example, tuple | list) else (example,)
    evaluation = Evaluation(
        net=net,
        baseline=network,
        objectives=OBJECTIVES,
        accuracy=Accuracy(loader=task.valid(), metric=task.metric),
        latency=Latency(example=example, threads=1, max_seconds=0.3),
        example=example,
        calibration=list(islice(task.train(), 4)),
    )
    space = narrowed(net.space, KEPT)
    names = [name for name in space if len(space[name].options) > 1]
    rows = {tuple(str(config[name]) for name in names): config for config in space.configs()}

    def measure(row: Row) -> tuple[float, ...]:
        values, _ = evaluation(net.space.validate(rows[row]))
        return tuple(values[name] for name in OBJECTIVES)

    return names, list(rows), measure


def policies(net: Elastic, network: Any, task: Any) -> tuple[list[str], list[Row], Measure]:
    """The same for sub-networks whose stages are int8 or not."""
    example = task.example()
    example = example if isinstance(example, tuple | list) else (example,)
    int8 = Int8.of(net, example, threads=1)
    stages = sorted({layer.split(".")[0] for layer in int8.policy.layers})
    space = narrowed(net.space, KEPT_QUANTIZED)
    names = [name for name in space if len(space[name].options) > 1]
    configs = {tuple(str(config[name]) for name in names): config for config in space.configs()}
    bits = list(product(("8", "32"), repeat=len(stages)))
    calibration = list(islice(task.train(), 4))
    accuracy = Accuracy(loader=task.valid(), metric=task.metric)
    latency = Latency(example=example, threads=1, max_seconds=0.5)
    baseline = latency.runner(int8.deployed(network, example, (), calibration))

    @cache
    def extracted(row: Row) -> Any:
        found = net.extract(net.space.validate(configs[row]), prefer="graph").eval()
        recalibrate(found, calibration)
        return found

    def measure(row: Row) -> tuple[float, ...]:
        structure, chosen = extracted(row[: len(names)]), row[len(names) :]
        low = {stage for stage, width in zip(stages, chosen, strict=True) if width == "8"}
        there = record(structure, example).layers
        layers = [layer for layer in there if layer.split(".")[0] in low]
        deployed = int8.deployed(structure, example, layers, calibration)
        ratio = latency.compare_runners(latency.runner(deployed), baseline)
        size = float(len(deployed.onnx_model))
        return accuracy.measure(deployed).value, ratio.ratio, size

    columns = [*names, *(f"{stage}.bits" for stage in stages)]
    return columns, [(*config, *chosen) for config in configs for chosen in bits], measure


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure what is not in the file yet, and say how far it got."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quantization", action="store_true")
    parser.add_argument("--epochs", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=8, help="of measuring")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    net, network, task = super_network(given.out.parent, given.epochs, given.seed)
    header = QUANTIZED_HEADER if given.quantization else HEADER
    made = (policies if given.quantization else sub_networks)(net, network, task)
    names, rows, measure = made
    end = time.monotonic() + 60 * given.minutes
    known = _known(given.out, len(names) + len(header), len(names))
    with given.out.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow([*(f"choice.{name}" for name in names), *header])
        for row in rows:
            if row in known:
                continue
            if time.monotonic() > end:
                break
            writer.writerow([*row, *(f"{value:.6g}" for value in measure(row))])
            file.flush()
            known.add(row)
    print(f"{len(known)} of {len(rows)} configs in {given.out}")


def _known(path: Path, columns: int, choices: int) -> set[Row]:
    """The configs in a file that was begun, whose last line may be torn."""
    if not path.exists() or not path.stat().st_size:
        return set()
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = [line for line in lines if line.count(",") == columns - 1]
    path.write_text("\n".join(whole) + "\n", encoding="utf-8")
    return {tuple(line.split(",")[:choices]) for line in whole[1:]}


if __name__ == "__main__":
    main()
