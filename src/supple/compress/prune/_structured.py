"""Structured pruning through `supple.Elastic`: which indices of every axis go, for a share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from supple.compress.prune._pruner import Batch, Loss
from supple.elastic import Elastic, Elasticity
from supple.elastic.importance import scorer
from supple.space import Config

__all__ = ["cut_structures", "parameters_at"]

_FINE = Elasticity(
    ratios=tuple(i / 32 for i in range(1, 33)), multiple_of=1, depths=False, kernels=False
)


def cut_structures(
    model: nn.Module,
    ratio: float,
    *,
    method: str,
    is_uniform: bool,
    example: Any,
    data: Iterable[Batch] | None,
    loss: Loss,
    seed: int,
    elasticity: Elasticity | None = None,
) -> tuple[nn.Module, Config, tuple[str, ...]]:
    """A smaller copy of a model, with the share ``ratio`` of its parameters removed.

    Every axis keeps at least its smallest option, so a share near 1 may not be reached; a note says
    so then. Of all cuts that remove at least the share, the one with the most parameters is taken.

    Returns:
        The network, its config, and notes.
    """
    example = example if isinstance(example, (tuple, list, Mapping)) else (example,)
    net = Elastic(model, example, elasticity or _FINE)
    # Scores of different axes meet at one threshold, so each is brought to a mean of 1.
    made = scorer(
        method, batches=data, loss=loss, seed=seed,
        **({} if method == "random" else {"normalise": "mean"}),
    )  # fmt: skip
    net.reorder(made)
    scores = {} if is_uniform else dict(made.scores(net).axes)
    whole = parameters_at(net, net.space.largest)
    target = (1 - ratio) * whole
    levels = _levels(scores) if scores else [i / 1024 for i in range(1024, -1, -1)]
    config = _largest_below(net, scores, levels, target)
    found = parameters_at(net, config)
    notes: tuple[str, ...] = ()
    if found > target + 1e-9:
        notes = (
            f"{1 - found / whole:.1%} of the parameters were removed, not {ratio:.1%}: every axis "
            "keeps at least its smallest option.",
        )
    return net.extract(config), config, notes


def parameters_at(net: Elastic, config: Config) -> int:
    """How many parameters a sub-network has.

    Example:
        >>> from torch import nn
        >>> from supple.elastic import Elastic
        >>> from supple.compress.prune._structured import parameters_at
        >>> import torch
        >>> net = Elastic(nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 1)), (torch.ones(1, 2),))
        >>> parameters_at(net, net.space.largest)
        33
    """
    plan = net.plan(config)
    return sum(
        net._cutter.cut(name, plan.counts, plan.windows)(weight.detach()).numel()
        for name, weight in net.named_weights()
    )


def _levels(scores: Mapping[str, Tensor]) -> list[float]:
    """Thresholds from below every score to above all."""
    values = torch.unique(torch.cat([score.flatten().double() for score in scores.values()]))
    return [float("-inf"), *values.tolist()]


def _largest_below(
    net: Elastic, scores: Mapping[str, Tensor], levels: list[float], target: float
) -> Config:
    """By halving: the first level whose sub-network has at most ``target`` parameters."""
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if parameters_at(net, _config(net, scores, levels[middle])) <= target + 1e-9:
            high = middle
        else:
            low = middle + 1
    return _config(net, scores, levels[low])


def _config(net: Elastic, scores: Mapping[str, Tensor], level: float) -> Config:
    """What is above a threshold of the scores or, without scores, an equal share of each axis."""
    if not scores:
        return net.space.at_ratio(level)
    wanted = dict(net.space.largest)
    for name, score in scores.items():
        if name in net.space:
            options = sorted(int(str(option)) for option in net.space[name].options)
            count = int((score > level).sum())
            wanted[name] = max(o for o in options if o <= max(count, options[0]))
    return net.space.nearest(wanted)
