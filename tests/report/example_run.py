"""A made-up but plausible run: ResNet-20 on images of digits, 60 evaluations.

Only for tests: accuracy and latency come from a small formula with noise, not from a network.
``example_data()`` is the plain data of ``result.json``.
"""

from __future__ import annotations

import math
import random
from typing import Any

STAGES = {"layer1": 16, "layer2": 32, "layer3": 64}
BLOCKS = 3
PICK_BOUND = 0.5
BASELINE_MS = 1.182
COMMAND = (
    "supple optimize digits --model resnet20 --evaluations 60 --latency 0.5 "
    "--train-epochs 20 --finetune-epochs 5"
)
PYTHON = """\
import supple

task = supple.tasks.load("digits", model="resnet20")
study = supple.optimize(
    task.model(), train=task.train(), valid=task.valid(), example=task.example(),
    objectives=["accuracy", "latency"], evaluations=60, out="runs/digits",
)
best = study.pick(latency=0.5)
best.export("small.onnx")
"""


def example_data(seed: int = 7) -> dict[str, Any]:
    """The content of a result.json with a finished search and a pick."""
    rng = random.Random(seed)
    sizes = full_config()
    trials = [trial(number, sample(rng, number), rng) for number in range(60)]
    trials[23] |= {"values": {}, "state": "fail"}
    front = front_of(trials)
    bounded = [n for n in front if trials[n]["values"]["latency"] <= PICK_BOUND]
    picked = trials[max(bounded, key=lambda n: trials[n]["values"]["accuracy"])]
    ratio = picked["values"]["latency"]
    latency = round(ratio * BASELINE_MS, 4)
    return {
        "schema": 1,
        "supple": "0.1.0",
        "created": "2025-11-21T10:44:12+00:00",
        "status": "complete",
        "task": {
            "name": "digits",
            "options": {"model": "resnet20"},
            "description": "handwritten digits of 8 × 8 pixels, ten classes",
        },
        "command": COMMAND,
        "python": PYTHON,
        "asked": {
            "objectives": ["accuracy", "latency"],
            "evaluations": 60,
            "strategy": "linas",
            "seed": 0,
            "pick": {"latency": PICK_BOUND},
            "backend": "onnxruntime",
            "threads": 1,
            "batch": 1,
            "training": {
                "rule": {"name": "sandwich", "n_random": 2, "distil": True},
                "recipe": {"epochs": 20.0, "steps": None, "optimizer": "sgd", "lr": 0.05},
                "finetune": {"epochs": 5.0, "steps": None, "optimizer": "sgd", "lr": 0.02},
            },
        },
        "machine": {
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "memory_gb": 23.5,
            "os": "Linux 6.1, Debian 12",
            "python": "3.11.7",
            "torch": "2.13.0",
            "onnxruntime": "1.31.1",
        },
        "space": {"choices": []},
        "space_size": 3_265_173_504_000,
        "structure": {
            "elastic": [
                {"name": n, "kind": "width", "size": s, "members": [n + ".weight:0"], "params": 9}
                for n, s in sizes.items()
                if not n.endswith("depth")
            ],
            "fixed": [
                {
                    "name": "input.channels",
                    "size": 1,
                    "reason": "an input of the network",
                    "operator": "placeholder",
                    "where": "x",
                },
                {
                    "name": "fc.out",
                    "size": 10,
                    "reason": "an output of the network",
                    "operator": "aten.linear",
                    "where": "resnet.py:88, in forward: return self.fc(x.mean((2, 3)))",
                },
            ],
        },
        "directions": {"accuracy": "max", "latency": "min"},
        "trials": trials,
        "front": front,
        "hypervolume": {"reference": {"accuracy": 0.5, "latency": 1.3}, "curve": curve(trials)},
        "baseline": {
            "test_accuracy": 0.9917,
            "test_accuracy_interval": [0.9801, 0.9966],
            "valid_accuracy": 0.9931,
            "latency_ms": BASELINE_MS,
            "latency_ms_interval": [1.169, 1.197],
            "macs": 2_553_664,
            "params": 272_186,
            "file_bytes": 1_112_473,
            "peak_memory_bytes": 1_392_640,
        },
        "pick": {
            "test_accuracy": 0.9889,
            "test_accuracy_interval": [0.9763, 0.9948],
            "valid_accuracy": 0.9896,
            "latency_ms": latency,
            "latency_ms_interval": [latency * 0.985, latency * 1.017],
            "macs": 812_544,
            "params": 71_338,
            "file_bytes": 308_112,
            "peak_memory_bytes": 481_280,
            "values": picked["values"],
            "trial": picked["number"],
            "config": picked["config"],
            "latency_ratio": ratio,
            "latency_ratio_interval": [ratio * 0.965, ratio * 1.04],
            "noisy": False,
            "extracted_as": "native",
            "extracted_why": "the modules of Net could be cut in place",
            "extraction_notes": ["its config was corrected"],
        },
        "cuts": cuts(picked["config"], sizes),
        "layers": layers(picked["config"]),
        "seconds": {"train": 41.3, "search": 96.2, "finetune": 12.8, "measure": 9.4},
        "warnings": [],
    }


def full_config() -> dict[str, int]:
    """Every choice at its full size, in the order of the network."""
    config: dict[str, int] = {}
    for stage, width in STAGES.items():
        config[f"{stage}.width"] = width
        config[f"{stage}.depth"] = BLOCKS
        config |= {f"{stage}.{block}.conv1": width for block in range(BLOCKS)}
    return config


def sample(rng: random.Random, number: int) -> dict[str, int]:
    """A config; later ones are drawn nearer to a good shape, as a search would."""
    keep = rng.uniform(0.3, 1.0)
    spread = 0.25 if number < 25 else 0.1
    config = {}
    for name, size in full_config().items():
        share = min(1.0, max(0.2, rng.gauss(keep, spread)))
        step = 1 if name.endswith("depth") else max(1, size // 8)
        config[name] = max(1, round(share * size / step) * step)
    return config


def trial(number: int, config: dict[str, int], rng: random.Random) -> dict[str, Any]:
    """One evaluated config: accuracy falls off where narrow layers starve, latency adds up."""
    latency, starving = 0.09, 0.0
    for stage, width in STAGES.items():
        for block in range(config[f"{stage}.depth"]):
            outer = config[f"{stage}.width"] / width
            inner = config[f"{stage}.{block}.conv1"] / width
            latency += 0.055 + 0.066 * outer * inner
            starving += 0.006 * (1 - inner) ** 2
        starving += 0.06 * (1 - config[f"{stage}.width"] / width) ** 3
        starving += 0.011 * (BLOCKS - config[f"{stage}.depth"]) ** 1.5
    late = 0.9 if number >= 25 else 1.0
    accuracy = 0.9935 - late * starving - abs(rng.gauss(0, 0.004 * late)) - (0.2 * (number == 4))
    return {
        "number": number,
        "config": config,
        "values": {
            "accuracy": round(min(accuracy, 0.9931), 5),
            "latency": round(latency * math.exp(rng.gauss(0, 0.01)) / BASELINE_MS, 4),
        },
        "details": {},
        "seconds": round(rng.uniform(1.2, 2.1), 2),
        "state": "complete",
    }


def front_of(trials: list[dict[str, Any]]) -> list[int]:
    """The numbers of the trials no other trial beats, by comparing all pairs."""
    done = [t for t in trials if t["values"]]

    def beaten(one: dict[str, Any]) -> bool:
        mine = one["values"]
        return any(
            o["values"]["accuracy"] >= mine["accuracy"]
            and o["values"]["latency"] <= mine["latency"]
            and o["values"] != mine
            for o in done
        )

    return [t["number"] for t in done if not beaten(t)]


def curve(trials: list[dict[str, Any]]) -> list[list[float]]:
    """Hypervolume after each finished trial, against accuracy 0.5 and latency 1.3."""
    points: list[list[float]] = []
    for count in range(1, len(trials) + 1):
        front = [trials[n]["values"] for n in front_of(trials[:count])]
        area, best = 0.0, 0.5
        for values in sorted(front, key=lambda v: v["accuracy"]):
            area += (values["accuracy"] - best) * (1.3 - values["latency"])
            best = values["accuracy"]
        points.append([count, round(area, 6)])
    return points


def cuts(config: dict[str, int], sizes: dict[str, int]) -> list[dict[str, Any]]:
    """What the pick keeps of every choice."""
    return [
        {
            "name": name,
            "kind": "depth" if name.endswith("depth") else "width",
            "kept": config[name],
            "of": size,
        }
        for name, size in sizes.items()
    ]


def layers(config: dict[str, int]) -> list[dict[str, Any]]:
    """Every convolution and the classifier, before and after."""
    rows = [layer("conv1", (16, 1, 3, 3), (config["layer1.width"], 1, 3, 3))]
    before, kept_before = 16, config["layer1.width"]
    for stage, width in STAGES.items():
        kept = config[f"{stage}.width"]
        for block in range(BLOCKS):
            inner = config[f"{stage}.{block}.conv1"]
            there = block < config[f"{stage}.depth"]
            first, second = (inner, kept_before, 3, 3), (kept, inner, 3, 3)
            name = f"{stage}.{block}"
            rows.append(layer(f"{name}.conv1", (width, before, 3, 3), first if there else None))
            rows.append(layer(f"{name}.conv2", (width, width, 3, 3), second if there else None))
            before, kept_before = width, kept
    return [*rows, layer("fc", (10, 64), (10, config["layer3.width"]))]


def layer(name: str, before: tuple[int, ...], after: tuple[int, ...] | None) -> dict[str, Any]:
    """One row of the layer table."""
    return {
        "name": name,
        "before": list(before),
        "after": None if after is None else list(after),
        "params_before": math.prod(before),
        "params_after": 0 if after is None else math.prod(after),
    }
