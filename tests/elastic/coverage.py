"""What is demanded of every architecture, as numbers that a test or a table can judge."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import Elasticity
from supple.elastic._compare import output_shapes, relative_difference
from supple.space import Config
from tests.elastic.masked import masked_output
from tests.elastic.oracles import Given, run, scalar, tensors

__all__ = ["FINE", "agreement", "dead_units", "gradients", "largest"]

FINE = Elasticity(ratios=(0.25, 0.5, 0.75, 1.0), multiple_of=1, min_depth_ratio=0.0)


def largest(net: Elastic, model: nn.Module, example: Any) -> float:
    """How far the extracted largest network is from the model."""
    with torch.no_grad():
        return relative_difference(
            run(net.extract(net.space.largest, prefer="graph"), example), run(model, example)
        )


def configs(net: Elastic, seed: int = 0) -> list[Config]:
    """Half of every axis, the smallest, and two at random."""
    drawn = net.space.sample_many(2, np.random.default_rng(seed))
    return [net.space.at_ratio(0.5), net.space.smallest, *drawn]


def agreement(net: Elastic, example: Any) -> float:
    """The largest difference between shared and extracted sub-networks."""
    worst = 0.0
    with torch.no_grad():
        for config in configs(net):
            shared, own = (
                run(net.at(config), example),
                run(net.extract(config, prefer="graph"), example),
            )
            worst = max(worst, relative_difference(shared, own))
    return worst


def gradients(net: Elastic, example: Any) -> str:
    """Backward through a sub-network in training mode: empty, or what is wrong."""
    config = configs(net)[-1]
    net.zero_grad()
    try:
        scalar(run(net.at(config), example)).backward()
    except Exception as error:
        return f"no gradient: {error}".partition("\n")[0]
    found = [w.grad for _, w in net.named_weights() if w.grad is not None]
    net.zero_grad()
    if not found:
        return "no gradient"
    return "" if all(torch.isfinite(g).all() for g in found) else "gradient not finite"


def some_units(net: Elastic, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], Config]:
    """For every axis random importances and which units are gone, with the config of the rest."""
    draws = torch.Generator().manual_seed(seed)
    importance, gone, config = {}, {}, net.space.largest
    for axis in net.structure.axes:
        if axis.name not in net.space:
            continue
        options = net.space[axis.name].options[:-1]
        keep = int(options[int(torch.randint(len(options), (), generator=draws))])
        importance[axis.name] = torch.rand(axis.size, generator=draws)
        mask = torch.ones(axis.size, dtype=torch.bool)
        mask[importance[axis.name].argsort(descending=True)[:keep]] = False
        gone[axis.name] = mask
        config = config.replace({axis.name: keep})
    return importance, gone, config


def dead_units(net: Elastic, model: nn.Module, example: Any, seed: int = 7) -> float:
    """How far cutting random units of every axis is from switching them off in the full graph."""
    importance, gone, config = some_units(net, seed)
    net = copy.deepcopy(net)
    net.reorder(Given(importance))
    with torch.no_grad():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)  # as `run` does: a model may draw numbers
            want = tensors(masked_output(net, model, example, gone))
        got = tensors(run(net.at(config), example))
    assert output_shapes(got) == output_shapes(want)
    return relative_difference(got, want)
