"""Half of ResNet-56's multiply-adds, cut by supple and by Torch-Pruning, fine-tuned alike.

    SUPPLE_DATA=… .venv/bin/python benchmarks/against_torch_pruning.py

The pre-trained network of the task `cifar10` is cut to 50 % of its MACs in several ways, every cut
network is fine-tuned on the same training images with the same recipe, and all are tested on the
same test images. Per way: test accuracy before and after fine-tuning, for each seed, and the mean.

- `torch_pruning magnitude`, `torch_pruning taylor`: its pruner, ranking over all groups at once;
- `supple magnitude`, `supple taylor`: indices ordered by importance, every axis cut alike;
- `supple searched`: Taylor order; of random configs of that size, the one with the best validation
  accuracy after its batch norms are calibrated. No way trains before the cut.

`--inner` lets every way cut only the width inside the residual blocks, and none the streams.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from supple import Config, Elastic
from supple.elastic import Elasticity
from supple.elastic.batch_norm import recalibrate
from supple.elastic.importance import scorer
from supple.elastic.training import Plain, Recipe, train
from supple.measure import Accuracy, MACs, machine
from supple.seeds import generator
from supple.tasks import Task, load


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all ways have in common.

    Attributes:
        task: Data and model.
        model: The pre-trained network.
        share: MACs to keep, as a part of the model's.
        calibration: Batches for importance and batch norms.
        recipe: Of the fine-tuning.
        candidates: Configs that the search looks at.
        inner: Whether only the width inside blocks is cut.
        test_batches: How many test batches are read; None for all.
    """

    task: Task
    model: nn.Module
    share: float
    calibration: list[Any]
    recipe: Recipe
    candidates: int
    inner: bool
    test_batches: int | None

    @property
    def example(self) -> tuple[Any, ...]:
        return (torch.zeros(2, 3, 32, 32),)

    def macs(self, network: nn.Module) -> float:
        return MACs(example=self.example).measure(network).value

    def accuracy(self, network: nn.Module, loader: Any) -> float:
        batches = list(islice(loader, self.test_batches))
        return Accuracy(loader=batches, metric=self.task.metric).measure(network).value


# -- ways to cut ------------------------------------------------------------------------------
def by_torch_pruning(job: Job, criterion: str) -> nn.Module:
    """The network of the largest pruning ratio's complement that has few enough MACs."""
    target = job.share * job.macs(job.model)
    low, high = 0.0, 0.95  # pruned shares: too few, enough
    for _ in range(8):
        middle = (low + high) / 2
        if job.macs(torch_pruned(job, criterion, middle)) > target:
            low = middle
        else:
            high = middle
    return torch_pruned(job, criterion, high)


def torch_pruned(job: Job, criterion: str, ratio: float) -> nn.Module:
    """One pruning step, as the library's own benchmark does it."""
    import torch_pruning as tp

    network = copy.deepcopy(job.model)
    importance = {
        "magnitude": tp.importance.GroupMagnitudeImportance,
        "taylor": tp.importance.GroupTaylorImportance,
    }[criterion]()
    inside = {id(m.conv1) for m in network.modules() if hasattr(m, "shortcut")}
    fixed = [
        m
        for m in network.modules()
        if isinstance(m, nn.Linear)
        or (job.inner and isinstance(m, nn.Conv2d) and id(m) not in inside)
    ]
    pruner = tp.pruner.BasePruner(
        network, job.example, importance=importance, pruning_ratio=ratio, global_pruning=True,
        max_pruning_ratio=0.9, ignored_layers=fixed,
    )  # fmt: skip
    if criterion == "taylor":
        for inputs, targets in job.calibration:
            F.cross_entropy(network(inputs), targets).backward()
    pruner.step()
    network.zero_grad()
    return network


def by_supple(job: Job, criterion: str) -> nn.Module:
    """Every axis cut to the largest common ratio that has few enough MACs."""
    net = ordered(job, criterion)
    target = job.share * job.macs(job.model)
    for step in range(100, 0, -1):
        network = net.extract(net.space.at_ratio(step / 100), prefer="graph")
        if job.macs(network) <= target:
            return network
    raise SystemExit(f"no ratio gives {job.share:.0%} of the MACs")


def by_search(job: Job, seed: int) -> nn.Module:
    """The best on validation images of random configs with few enough MACs."""
    net = ordered(job, "taylor")
    target = job.share * job.macs(job.model)
    found: list[tuple[float, nn.Module]] = []
    draws = generator(seed, "against torch-pruning")
    start = next(
        config
        for step in range(100, 0, -1)
        if job.macs(net.extract(config := net.space.at_ratio(step / 100), prefer="graph")) <= target
    )
    for attempt in range(50 * job.candidates):
        if len(found) == job.candidates:
            break
        config = near(net, start, draws) if attempt else start
        network = net.extract(config, prefer="graph")
        if attempt and not 0.95 * target <= job.macs(network) <= target:
            continue
        recalibrate(network, job.calibration)
        found.append((job.accuracy(network, job.task.valid()), network))
    return max(found, key=lambda pair: pair[0])[1]


def near(net: Elastic, config: Config, draws: Any) -> Config:
    """A config a few random steps away."""
    for _ in range(int(draws.integers(2, 12))):
        config = net.space.mutate(config, draws)
    return config


def ordered(job: Job, criterion: str) -> Elastic:
    """The elastic network with its indices by importance."""
    fixed = ("conv1.*", "layer*.conv2.*") if job.inner else ()
    elasticity = Elasticity(
        ratios=tuple(i / 32 for i in range(4, 33)), multiple_of=1, depths=False, kernels=False,
        fixed=fixed,
    )  # fmt: skip
    net = Elastic(job.model, job.example, elasticity)
    net.reorder(
        scorer(criterion, batches=job.calibration, loss=F.cross_entropy, **no_blocks(criterion))
    )
    return net


def no_blocks(criterion: str) -> dict[str, Any]:
    """No block is dropped, so none need be tried."""
    return {"order_blocks": False} if criterion == "taylor" else {}


# -- the comparison ---------------------------------------------------------------------------
def compare(job: Job, seeds: int) -> dict[str, list[dict[str, float]]]:
    """Accuracies of every way, by seed."""
    cuts: dict[str, Callable[[int], nn.Module]] = {
        "torch_pruning magnitude": lambda _: by_torch_pruning(job, "magnitude"),
        "torch_pruning taylor": lambda _: by_torch_pruning(job, "taylor"),
        "supple magnitude": lambda _: by_supple(job, "magnitude"),
        "supple taylor": lambda _: by_supple(job, "taylor"),
        "supple searched": lambda seed: by_search(job, seed),
    }
    full = job.macs(job.model)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in cuts}
    for seed in range(seeds):
        for name, cut in cuts.items():
            begin = time.perf_counter()
            network = cut(seed)
            recalibrate(network, job.calibration)
            before = job.accuracy(network, job.task.test())
            log = train(network, job.task.train(), F.cross_entropy, Plain(), job.recipe, seed=seed)
            del log
            row = {
                "macs": job.macs(network) / full,
                "params": sum(p.numel() for p in network.parameters()),
                "before": before,
                "after": job.accuracy(network.eval(), job.task.test()),
                "seconds": time.perf_counter() - begin,
            }
            results[name].append(row)
            print(
                f"  seed {seed}  {name:<24} MACs {row['macs']:.3f}  "
                f"before {before:.4f}  after {row['after']:.4f}  {row['seconds']:.0f} s"
            )
    return results


def summary(results: dict[str, list[dict[str, float]]]) -> None:
    """Mean and standard deviation over the seeds."""
    print("\ntest accuracy after fine-tuning, mean and standard deviation over seeds")
    for name, rows in results.items():
        values = [row["after"] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"  {name:<24} {statistics.mean(values):.4f} +- {spread:.4f}")


def main() -> None:
    """Reads the command line, runs and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--share", type=float, default=0.5, help="MACs kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=10.0, help="of fine-tuning")
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--calibration", type=int, default=8, help="batches")
    parser.add_argument("--candidates", type=int, default=40, help="of the search")
    parser.add_argument("--test-batches", type=int, help="of 250 images; default: all")
    parser.add_argument("--inner", action="store_true", help="cut only inside the blocks")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="file for the results")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    sys.stdout.reconfigure(line_buffering=True)
    task = load("cifar10", model=asked.model)
    model = task.model()
    job = Job(
        task=task,
        model=model,
        share=asked.share,
        calibration=list(islice(task.train(), asked.calibration)),
        recipe=Recipe(epochs=asked.epochs, lr=asked.lr, weight_decay=5e-4),
        candidates=asked.candidates,
        inner=asked.inner,
        test_batches=asked.test_batches,
    )
    print(f"{asked.model}: test accuracy {job.accuracy(model, task.test()):.4f} before the cut")
    results = compare(job, asked.seeds)
    summary(results)
    if asked.json:
        with open(asked.json, "w") as file:
            json.dump({"asked": vars(asked), "machine": machine(), "results": results}, file)


if __name__ == "__main__":
    main()
