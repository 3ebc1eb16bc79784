"""Checks of export and of elasticity: the block inside a small network, cut in every way."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic import Elastic, Elasticity
from supple.elastic._call import batch_size, has_batch, input_arguments
from supple.errors import TraceError
from supple.testing._block_case import BlockCase
from supple.testing._calls import (
    build,
    compare,
    doubled_example,
    fail,
    other_batch,
    run,
)
from supple.testing._running import ROUNDING
from supple.testing._surround import surrounded
from supple.testing._table import check
from supple.testing._zeroed import zeroed

__all__: list[str] = []

FINE = Elasticity(ratios=(0.25, 0.5, 0.75, 1.0), multiple_of=1, min_depth_ratio=0.0)


@check
def exports(case: BlockCase) -> None:
    """``torch.export`` takes the block with a free batch, and the program equals it."""
    block = build(case)
    size = batch_size(case.example)
    args, kwargs = input_arguments(case.example)
    batch = torch.export.Dim("batch", min=1)

    def dims(value: Any) -> Any:
        return {0: batch} if isinstance(value, Tensor) and has_batch(value, size) else None

    shapes = pytree.tree_map(dims, (args, kwargs))
    dynamic = shapes[1] if kwargs else shapes[0]
    try:
        program = torch.export.export(block, args, kwargs, dynamic_shapes=dynamic, strict=False)
    except Exception as error:
        raise fail(f"torch.export does not take the block: {error}") from error
    module = program.module()
    for other in (size, size + 1, 1):
        example = case.example if other == size else other_batch(case, other)
        compare(run(module, example), run(block, example), ROUNDING, f"Exported, batch {other}")


@check
def elastic_where_it_says(case: BlockCase) -> None:
    """What may vary of a network around the block is exactly what the case names."""
    found = _what_varies(case)
    if found != set(case.elastic):
        raise fail(
            f"What may vary is {sorted(found)}, the case says {sorted(case.elastic)}.",
            hint="Elastic(...).report() of a network with the block says what fixes an axis.",
            found=sorted(found),
        )


def _what_varies(case: BlockCase) -> set[str]:
    try:
        net = _net(case)[1]
    except TraceError as error:
        if "elastic nowhere" in error.message:
            return set()
        raise
    found = {kind for name in net.space for kind in ("depth", "kernel") if name.endswith(kind)}
    for axis in net.structure.axes:
        cut = {(member.tensor, member.dim) for member in axis.members}
        ends = {"in": ("before.weight", 0), "out": ("after.weight", 1)}
        roles = {role for role, member in ends.items() if member in cut}
        found |= roles or {"inside"}
    return found


@check
def shared_equals_extracted(case: BlockCase) -> None:
    """A sub-network on the shared weights equals the one that is extracted, in both modes."""
    if not case.elastic:
        return
    _, net, example = _net(case)
    state = copy.deepcopy(net.state_dict())
    for training in (False, True) if case.train_mode else (False,):
        net.train(training)
        for config in _configs(net):
            small = net.extract(config)
            compare(run(net.at(config), example), run(small, example), 1e-10, f"{config}")
    net.eval()
    net.load_state_dict(state)  # the full network moves running statistics in training


@check
def removed_equals_zeroed(case: BlockCase) -> None:
    """Leaving indices out is the whole network with their weights set to zero."""
    if not case.elastic:
        return
    model, net, example = _net(case)
    for config in _configs(net, widths_only=True):
        dead = zeroed(net, model, config)
        compare(run(net.at(config), example), run(dead, example), 1e-10, f"{config}")


_NETS: dict[int, tuple[BlockCase, nn.Module, Elastic, Any]] = {}
_MOST_NETS = 64  # enough for the checks of a block to find it again, in any order


def _net(case: BlockCase) -> tuple[nn.Module, Elastic, Any]:
    """The network around the block in float64 and eval mode, elastic, and its inputs.

    Making it takes most of the time of these checks, so it is kept from one to the next.
    """
    kept = _NETS.get(id(case))
    if kept is None or kept[0] is not case:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model = surrounded(case, build(case)).double().eval()
        example = doubled_example(case.example)
        given = example if isinstance(example, dict) else input_arguments(example)[0]
        kept = (case, model, Elastic(copy.deepcopy(model), given, FINE), example)
        while len(_NETS) >= _MOST_NETS:
            del _NETS[next(iter(_NETS))]
        _NETS[id(case)] = kept
    return kept[1:]


def _configs(net: Elastic, *, widths_only: bool = False) -> list[dict[str, Any]]:
    """The corners and a few more configs; on demand with depth and kernels whole."""
    space = net.space
    found = [space.smallest, space.largest, *space.sample_many(4, np.random.default_rng(0))]
    if not widths_only:
        return [dict(config) for config in found]
    widths = {axis.name for axis in net.structure.axes}
    cut = [{k: v for k, v in dict(config).items() if k in widths} for config in found]
    return [dict(space.largest) | widths_of_one for widths_of_one in cut]
