"""What a sub-network must compute, by running the whole captured graph with units switched off.

Parameters of the units that are gone are zero, and every mean, variance and norm counts the others
only. Sizes stay those of the full network and nothing is sliced, so this shares no code with
cutting: it asks the axes only which positions of a tensor belong to which unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from supple.elastic import Elastic
from supple.trace import Capture
from supple.trace._graph import named_arguments
from tests.elastic.oracles import _mask, zeroed

__all__ = ["masked_output"]


def masked_output(net: Elastic, model: nn.Module, example: Any, gone: Mapping[str, Tensor]) -> Any:
    """The output without the units of ``gone``: by axis name, a mask over its indices.

    Args:
        net: The elastic network, for its graph and its axes.
        model: The model it was made from.
        example: Arguments of a call.
        gone: What is switched off.
    """
    one = net._captures[0]
    model = zeroed(net, model, gone)
    stored = dict(model.named_parameters(remove_duplicate=False))
    stored |= dict(model.named_buffers(remove_duplicate=False)) | one.constants
    if isinstance(example, Mapping):  # in the order of the graph's inputs
        example = [example[key] for key in one.in_spec.children()[1].context]
    leaves = pytree.tree_leaves(example)
    return pytree.tree_unflatten(_Masked(net, gone).run(one, stored, leaves), one.out_spec)


class _Masked:
    """Runs a graph call by call."""

    def __init__(self, net: Elastic, gone: Mapping[str, Tensor]) -> None:
        self.net, self.gone = net, gone

    def run(self, one: Capture, stored: Mapping[str, Tensor], leaves: Sequence[Any]) -> list[Any]:
        values: dict[fx.Node, Any] = {}
        for node in one.graph.nodes:
            if node.op == "placeholder":
                source = one.sources[node]
                is_input = source.kind == "input"
                values[node] = leaves[int(source.name)] if is_input else stored[source.name]
            elif node.op == "get_attr":
                values[node] = getattr(one.graph.owning_module, str(node.target))
            elif node.op == "call_function":
                values[node] = self.call(node, values)
        return [values[x] if isinstance(x, fx.Node) else x for x in one.outputs]

    def call(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        name = getattr(getattr(node.target, "_schema", None), "name", "").removeprefix("aten::")
        if name in _NORMALISING and node.all_input_nodes:
            source = node.all_input_nodes[0]
            axes = self.net.structure.analysis.axes_of(source)
            masks = [
                ~_mask(self.net, axis, self.gone)
                if any(atom in self.net.structure.index for atom in axis.atoms())
                else torch.ones(size, dtype=torch.bool)  # whole; its size may be known by then only
                for axis, size in zip(axes, values[source].shape, strict=True)
            ]
            if not all(m.all() for m in masks):
                given = named_arguments(node)
                mapped = {k: fx.node.map_arg(v, values.__getitem__) for k, v in given.items()}
                return _NORMALISING[name](values[source], masks, mapped)
        return node.target(*args, **kwargs)


def _moments(x: Tensor, masks: list[Tensor], dims: list[int]) -> tuple[Tensor, Tensor, int]:
    """Mean and centred squares over the kept positions of some dimensions, and their number."""
    keep = torch.ones((), dtype=torch.bool)
    for d in dims:
        shape = [1] * x.ndim
        shape[d] = -1
        keep = keep & masks[d].view(shape)
    count = math.prod(int(masks[d].sum()) for d in dims)
    mean = torch.where(keep, x, 0.0).sum(dims, keepdim=True) / count
    squares = torch.where(keep, (x - mean).square(), 0.0).sum(dims, keepdim=True)
    return mean, squares, count


def _dims(x: Tensor, given: Mapping[str, Any]) -> list[int]:
    dim = given.get("dim")
    if dim is None or dim == []:
        return list(range(x.ndim))
    return [d % x.ndim for d in ([dim] if isinstance(dim, int) else dim)]


def _shaped(x: Tensor, dims: list[int], given: Mapping[str, Any]) -> Tensor:
    return x if given.get("keepdim") else x.squeeze(dims)


def _mean(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    dims = _dims(x, given)
    return _shaped(_moments(x, masks, dims)[0], dims, given)


def _var(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    dims = _dims(x, given)
    correction = given.get("correction", given.get("unbiased", 1))
    _, squares, count = _moments(x, masks, dims)
    return _shaped(squares / (count - (1 if correction is None else correction)), dims, given)


def _std(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    return _var(x, masks, given).sqrt()


def _layer_norm(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    dims = list(range(x.ndim - len(given["normalized_shape"]), x.ndim))
    mean, squares, count = _moments(x, masks, dims)
    return _scaled((x - mean) / (squares / count + given["eps"]).sqrt(), given)


def _rms_norm(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    dims = list(range(x.ndim - len(given["normalized_shape"]), x.ndim))
    eps = torch.finfo(x.dtype).eps if given["eps"] is None else given["eps"]
    return _scaled(x / (_moments(x.square(), masks, dims)[0] + eps).sqrt(), given)


def _scaled(x: Tensor, given: Mapping[str, Any]) -> Tensor:
    x = x if given.get("weight") is None else x * given["weight"]
    return x if given.get("bias") is None else x + given["bias"]


def _group_norm(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    parts = []
    for piece, keep in zip(
        x.chunk(given["num_groups"], 1), masks[1].chunk(given["num_groups"]), strict=True
    ):
        if keep.any():
            dims = list(range(1, x.ndim))
            mean, squares, count = _moments(piece, [masks[0], keep, *masks[2:]], dims)
            piece = (piece - mean) / (squares / count + given["eps"]).sqrt()
        parts.append(piece)
    shape = [1, -1] + [1] * (x.ndim - 2)
    scales = {k: None if given[k] is None else given[k].view(shape) for k in ("weight", "bias")}
    return _scaled(torch.cat(parts, 1), scales)


def _batch_norm(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    """With the statistics of the batch, as it is when a weight is standardised by it."""
    if not given["training"]:
        return torch.ops.aten.batch_norm.default(*given.values())
    dims = [d for d in range(x.ndim) if d != 1]
    mean, squares, count = _moments(x, masks, dims)
    shape = [1, -1] + [1] * (x.ndim - 2)
    scales = {k: None if given[k] is None else given[k].view(shape) for k in ("weight", "bias")}
    return _scaled((x - mean) / (squares / count + given["eps"]).sqrt(), scales)


def _native(rule: Any) -> Any:
    """With statistics that nobody reads."""
    return lambda x, masks, given: (rule(x, masks, given), None, None)


def _native_group_norm(x: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Any:
    return _group_norm(x, masks, {**given, "num_groups": given["group"]}), None, None


def _weight_norm(v: Tensor, masks: list[Tensor], given: Mapping[str, Any]) -> Tensor:
    norm = torch.norm_except_dim(v, 2, given["dim"])
    return v * (given["g"] / torch.where(norm == 0, 1.0, norm))  # a unit that is gone has none


_NORMALISING = {
    "batch_norm": _batch_norm,
    "_weight_norm": _weight_norm,
    "native_layer_norm": _native(_layer_norm),
    "native_group_norm": _native_group_norm,
    "mean": _mean,
    "var": _var,
    "std": _std,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
}
