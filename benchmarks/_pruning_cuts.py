"""Cutting a network to a share of its MACs, by Torch-Pruning and by supple."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _pruning_jobs import Job
from torch import nn

from supple import Config, Elastic
from supple.elastic import Elasticity
from supple.elastic.batch_norm import recalibrate
from supple.elastic.importance import scorer
from supple.seeds import generator

__all__ = ["ARMS", "SHAPES", "Shape", "cut"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the cut is spread over the network.

    Attributes:
        stream: Whether the residual stream is cut too, or only the inside of the blocks.
        is_ranked: All groups are ranked together; otherwise all lose the same share.
    """

    stream: bool
    is_ranked: bool

    def __str__(self) -> str:
        return f"{'stream too' if self.stream else 'inside'}, {self.spread}"

    @property
    def spread(self) -> str:
        """In words."""
        return "ranked over all groups" if self.is_ranked else "every group alike"


SHAPES = tuple(
    Shape(stream=stream, is_ranked=ranked) for stream in (False, True) for ranked in (False, True)
)
ARMS = (
    "torch_pruning magnitude", "torch_pruning taylor",
    "supple magnitude", "supple taylor", "supple searched",
)  # fmt: skip
_MOST = 0.9  # of a group that may go


def cut(job: Job, model: nn.Module, arm: str, shape: Shape, seed: int) -> nn.Module:
    """The smaller network of an arm, its batch norms calibrated.

    Raises:
        ValueError: No cut of this shape keeps few enough MACs.
    """
    calibration = job.calibration_of(seed)
    library, criterion = arm.split()
    if library == "torch_pruning":
        network = by_torch_pruning(job, model, criterion, shape, calibration)
    elif criterion == "searched":
        network = by_search(job, model, shape, calibration, seed)
    else:
        network = by_supple(job, model, criterion, shape, calibration)
    return job.settled(network, calibration)


# -- Torch-Pruning ----------------------------------------------------------------------------
def by_torch_pruning(
    job: Job, model: nn.Module, criterion: str, shape: Shape, calibration: list[Any]
) -> nn.Module:
    """The least pruning ratio that keeps few enough MACs, by bisection."""
    target = job.share * job.macs(model)

    gradients = gradients_of(model, calibration) if criterion == "taylor" else {}

    def pruned(ratio: float) -> nn.Module:
        return torch_pruned(job, model, criterion, shape, gradients, ratio)

    low, high = 0.0, 1.0  # too little; enough, or more than the library can take
    found, problem = None, "no ratio keeps few enough MACs"
    for _ in range(8):
        middle = (low + high) / 2
        try:
            network = pruned(middle)
            is_small = job.macs(network) <= target
        except Exception as error:  # a layer without any head left
            high, problem = middle, str(error)
            continue
        if is_small:
            high, found = middle, network
        else:
            low = middle
    if found is None:
        raise ValueError(problem)
    return found


def torch_pruned(
    job: Job,
    model: nn.Module,
    criterion: str,
    shape: Shape,
    gradients: dict[str, torch.Tensor],
    ratio: float,
) -> nn.Module:
    """One pruning step as the library's own examples do it; heads go whole."""
    import torch_pruning as tp

    network = copy.deepcopy(model)
    modules = dict(network.named_modules())
    fixed = [m for n, m in modules.items() if is_whole(job, n, shape) and not list(m.children())]
    heads = {
        m: int(getattr(modules[n.rpartition(".")[0]], attribute))
        for n, m in modules.items()
        for pattern, attribute in job.heads.items()
        if fnmatch.fnmatchcase(n, pattern)
    }
    importance = {
        "magnitude": tp.importance.GroupMagnitudeImportance,
        "taylor": tp.importance.GroupTaylorImportance,
    }[criterion]()
    pruner = tp.pruner.BasePruner(
        network, job.example, importance=importance, pruning_ratio=ratio,
        global_pruning=shape.is_ranked, max_pruning_ratio=_MOST, ignored_layers=fixed,
        num_heads=heads, prune_num_heads=True, prune_head_dims=False, head_pruning_ratio=ratio,
        in_channel_groups={}, out_channel_groups={},
        unwrapped_parameters={network.get_parameter(n): d for n, d in job.bare.items()} or None,
    )  # fmt: skip
    for name, parameter in network.named_parameters():
        parameter.grad = gradients[name].clone() if name in gradients else None
    pruner.step()
    for name, module in modules.items():
        if module in heads:
            pattern = next(p for p in job.heads if fnmatch.fnmatchcase(name, p))
            setattr(modules[name.rpartition(".")[0]], job.heads[pattern], pruner.num_heads[module])
    network.zero_grad()
    return network


def gradients_of(model: nn.Module, calibration: list[Any]) -> dict[str, torch.Tensor]:
    """Of the loss, added over the batches."""
    network = copy.deepcopy(model).requires_grad_(True)
    for inputs, targets in calibration:
        F.cross_entropy(called(network, inputs), targets).backward()
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def is_whole(job: Job, name: str, shape: Shape) -> bool:
    """A layer that this shape leaves alone; the output layer always is."""
    patterns = job.stream[-1:] if shape.stream else job.stream
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def called(network: nn.Module, inputs: Any) -> Any:
    return network(*inputs) if isinstance(inputs, (tuple, list)) else network(inputs)


# -- supple -----------------------------------------------------------------------------------
def by_supple(
    job: Job, model: nn.Module, criterion: str, shape: Shape, calibration: list[Any]
) -> nn.Module:
    """The largest sub-network with few enough MACs, in the order of importance."""
    net, scores = ordered(job, model, criterion, shape, calibration)
    return net.extract(first(job, net, scores, shape, job.share * job.macs(model)))


def ordered(
    job: Job,
    model: nn.Module,
    criterion: str,
    shape: Shape,
    calibration: list[Any],
    depths: bool = False,
) -> tuple[Elastic, dict[str, torch.Tensor]]:
    """The elastic network with its indices by importance, and the scores, of mean 1."""
    elasticity = Elasticity(
        ratios=tuple(i / 32 for i in range(4, 33)), multiple_of=1, depths=depths, kernels=False,
        min_depth_ratio=0.0, fixed=job.never if shape.stream else (*job.stream_names, *job.never),
    )  # fmt: skip
    net = Elastic(model, job.example, elasticity)
    settings = {"order_blocks": depths} if criterion == "taylor" else {"p": 2}
    found = scorer(
        criterion, batches=calibration, loss=F.cross_entropy, normalise="mean", **settings
    )
    scores = {name: score.clone() for name, score in found.scores(net).axes.items()}
    net.reorder(found)
    return net, scores


def first(
    job: Job, net: Elastic, scores: dict[str, torch.Tensor], shape: Shape, target: float
) -> Config:
    """The config of this shape that just keeps few enough MACs."""
    make = ranked(net, scores) if shape.is_ranked else net.space.at_ratio
    low, high = 0.0, 1.0  # kept shares: enough is gone, too little
    found = make(low)
    if job.macs(net.at(found)) > target:
        raise ValueError("the smallest sub-network keeps too many MACs")
    for _ in range(12):
        middle = (low + high) / 2
        config = make(middle)
        if job.macs(net.at(config)) > target:
            high = middle
        else:
            low, found = middle, config
    return found


def ranked(net: Elastic, scores: dict[str, torch.Tensor]) -> Callable[[float], Config]:
    """From a share to the config that keeps this share of all indices, the most important."""
    offered = {name: score for name, score in scores.items() if name in net.space}
    every = torch.cat(list(offered.values())).sort(descending=True).values

    def config(share: float) -> Config:
        threshold = every[min(len(every) - 1, int(share * len(every)))]
        kept = {n: int((s >= threshold).sum()) for n, s in offered.items()}
        return net.space.nearest(net.space.largest.replace(_offered(net, kept)))

    return config


def _offered(net: Elastic, kept: dict[str, int]) -> dict[str, Any]:
    """The nearest sizes that the space offers."""
    return {
        name: min(net.space[name].options, key=lambda option: abs(option - count))
        for name, count in kept.items()
    }


# -- supple, searched -------------------------------------------------------------------------
def by_search(
    job: Job, model: nn.Module, shape: Shape, calibration: list[Any], seed: int
) -> nn.Module:
    """From the Taylor cut on, keeps what lowers the validation loss; blocks may go as well."""
    net, scores = ordered(job, model, "taylor", shape, calibration, depths=True)
    target = job.share * job.macs(model)
    draws = generator(seed, "against torch-pruning", job.name)
    looks = some_validation(job)
    best = first(job, net, scores, shape, target)
    loss = loss_of(job, net, best, calibration, looks)
    for _ in range(job.candidates):
        config = neighbour(job, net, best, target, draws)
        found = loss_of(job, net, config, calibration, looks)
        if found < loss:
            best, loss = config, found
    return net.extract(best)


def neighbour(job: Job, net: Elastic, config: Config, target: float, draws: Any) -> Config:
    """A few choices are drawn anew, others one step smaller until few enough MACs are left."""
    space = net.space
    start = config
    for _ in range(int(draws.integers(1, 5))):
        name = str(draws.choice(list(space)))
        options = space[name].options
        start = space.validate(start.replace({name: options[int(draws.integers(len(options)))]}))
    orders = [[str(n) for n in draws.permutation(list(space))] for _ in range(40)]
    names = [name for order in orders for name in order]

    def smaller(steps: int) -> Config:
        new = dict(start)
        for name in names[:steps]:
            options = list(space[name].options)
            new[name] = options[max(0, options.index(new[name]) - 1)]
        return space.validate(start.replace(new))

    low, high = 0, len(names)  # steps down: too few or just enough, enough
    while low < high:
        middle = (low + high) // 2
        if job.macs(net.at(smaller(middle))) > target:
            low = middle + 1
        else:
            high = middle
    return smaller(low)


def loss_of(job: Job, net: Elastic, config: Config, calibration: list[Any], looks: Any) -> float:
    """Of a sub-network on some validation examples, its batch norms calibrated."""
    network = net.extract(config, prefer="graph")
    recalibrate(network, calibration[:2])
    network.eval()
    with torch.no_grad():
        losses = [float(F.cross_entropy(called(network, x), y)) for x, y in looks]
    return float(np.mean(losses))


def some_validation(job: Job) -> list[Any]:
    """Batches of ``job.looks`` validation examples or a few more."""
    batches, seen = [], 0
    for inputs, targets in islice(job.data.valid(), job.batches):
        batches.append((inputs, targets))
        seen += len(targets)
        if seen >= job.looks:
            break
    return batches
