"""Independent ways to say what a sub-network must compute, shared by the tests of the engine."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic import Elastic
from supple.elastic.importance import Scores


def doubled(tree: Any) -> Any:
    """The same in float64, integers apart."""
    if isinstance(tree, nn.Module):
        return tree.double()
    return pytree.tree_map(
        lambda v: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v, tree
    )


def run(network: Any, example: Any, seed: int = 5) -> Any:
    """The output of one call, with torch's random numbers drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(**example) if isinstance(example, Mapping) else network(*example)


def tensors(output: Any) -> list[Tensor]:
    return [v for v in pytree.tree_leaves(output) if isinstance(v, Tensor)]


def scalar(output: Any) -> Tensor:
    """A number that depends on every element of an output, each in its own way."""
    total = torch.zeros((), dtype=torch.float64)
    for leaf in tensors(output):
        if leaf.is_floating_point():
            weights = torch.linspace(0.5, 1.5, leaf.numel(), dtype=torch.float64)
            total = total + (leaf.double().flatten() * weights).sum() + leaf.double().square().sum()
    return total


def distance(got: Any, want: Any) -> float:
    """The largest difference, relative to the scale of what is wanted; shapes must agree."""
    assert type(got) is type(want)
    a, b = tensors(got), tensors(want)
    assert [t.shape for t in a] == [t.shape for t in b]
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        if y.is_floating_point():
            scale = max(y.abs().max().item(), 1e-30) if y.numel() else 1.0
            worst = max(worst, (x - y).abs().max().item() / scale if y.numel() else 0.0)
        else:
            assert torch.equal(x, y)
    return worst


def without_dropout(model: nn.Module) -> nn.Module:
    """The model with every dropout of torch.nn at rate zero."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


class Given:
    """A scorer whose importances are given: by axis name, one number for each index."""

    def __init__(self, axes: Mapping[str, Tensor], blocks: Mapping[str, Any] | None = None) -> None:
        self._scores = Scores(axes=axes, blocks=blocks or {})

    def scores(self, net: Elastic) -> Scores:
        return self._scores


def shuffled(net: Elastic, seed: int) -> Given:
    """Random importances for every axis, and a random order of blocks."""
    draws = torch.Generator().manual_seed(seed)
    axes = {axis.name: torch.rand(axis.size, generator=draws) for axis in net.structure.axes}
    blocks = {
        stage.name: tuple(torch.randperm(len(stage.blocks), generator=draws).tolist())
        for stage in net.structure.stages
    }
    return Given(axes, blocks)


def positions_of(net: Elastic, name: str, gone: Mapping[str, Tensor]) -> list[Tensor]:
    """For each dimension of a tensor a mask: whether a position holds an index that is gone.

    Found by following an index tensor through the axis expressions, not by the cutting code.
    """
    masks = []
    for axis in net.structure.analysis.stored[name]:
        masks.append(_mask(net, axis, gone))
    return masks


def _mask(net: Elastic, axis: Any, gone: Mapping[str, Tensor]) -> Tensor:
    root = axis.find()
    if root.kind == "atom":
        for found in net.structure.axes:
            if found.axis is root and found.name in gone:
                return gone[found.name]
        return torch.zeros(root.size, dtype=torch.bool)
    masks = [_mask(net, part, gone) for part in root.parts]
    if root.kind == "concat":
        return torch.cat(masks)
    grid = torch.zeros((), dtype=torch.bool)
    for i, mask in enumerate(masks):
        shape = [1] * len(masks)
        shape[i] = len(mask)
        grid = grid | mask.view(shape)
    return grid.flatten()


def zeroed(net: Elastic, model: nn.Module, gone: Mapping[str, Tensor]) -> nn.Module:
    """The model with every parameter that belongs to an index that is gone set to zero."""
    model = copy.deepcopy(model)
    state = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name in net.structure.parameters:
            for dim, mask in enumerate(positions_of(net, name, gone)):
                shape = [1] * state[name].ndim
                shape[dim] = len(mask)
                state[name].masked_fill_(mask.view(shape), 0.0)
    return model
