"""A sub-network as a plain module of its own: the graph with all sizes filled in."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from supple.elastic._skeleton import hold
from supple.trace import Axis, Branch, Capture, Flag, Padding, Resized, Structure, planned_edits
from supple.trace._residual import is_written_later

__all__ = ["TwoMode", "extract_graph"]


class TwoMode(nn.Module):
    """A network whose graph in training differs from that in evaluation; one set of weights."""

    graphs: dict[bool, fx.GraphModule]

    def __init__(self, evaluation: fx.GraphModule, training: fx.GraphModule) -> None:
        super().__init__()
        self._modules, self._parameters, self._buffers = (
            evaluation._modules,
            evaluation._parameters,
            evaluation._buffers,
        )
        self._non_persistent_buffers_set = evaluation._non_persistent_buffers_set
        for graph_module in (evaluation, training):
            graph_module._modules = self._modules
            graph_module._parameters = self._parameters
            graph_module._buffers = self._buffers
        object.__setattr__(self, "graphs", {False: evaluation, True: training})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the graph of the current mode."""
        return self.graphs[self.training](*args, **kwargs)


class Specialiser:
    """Builds the graph of one config from one captured graph."""

    def __init__(
        self,
        structure: Structure,
        one: Capture,
        counts: Sequence[int],
        windows: Sequence[int],
        dropped: Sequence[Branch],
        batch_leaf: int | None,
        names: Sequence[str],
    ) -> None:
        self._structure = structure
        self._one = one
        self._counts = counts
        self._windows = windows
        self._edits = planned_edits(structure, one)
        self._batch_leaf = batch_leaf
        self._names = names
        self._skips = {branch.join: branch.skip for branch in dropped}
        self._left_out = {node for branch in dropped for node in branch.region}
        self._made: dict[fx.Node, Any] = {}
        self._inputs: list[fx.Node] = []
        self._batch: fx.Node | None = None
        self._flag: fx.Node | None = None
        self.graph = fx.Graph()
        self.stored: dict[str, None] = {}

    def build(self) -> fx.Graph:
        """The finished graph; ``stored`` then lists the tensors it reads."""
        for node, source in self._one.sources.items():
            if source.kind == "input":
                name = self._names[int(source.name)]
                self._made[node] = self.graph.placeholder(name)
                self._inputs.append(self._made[node])
        for node in self._one.calls:
            if node not in self._left_out:
                self._made[node] = self._copy(node)
        leaves = [self._map(leaf) for leaf in self._one.outputs]
        self.graph.output(_nested(leaves, self._one.out_spec))
        self._remove_unused()
        return self.graph

    def _remove_unused(self) -> None:
        for node in reversed(list(self.graph.nodes)):
            is_pure = node.op == "get_attr" or not getattr(
                getattr(node.target, "_schema", None), "is_mutable", True
            )
            if node.op in ("get_attr", "call_function") and not node.users and is_pure:
                self.graph.erase_node(node)
        used = {str(n.target) for n in self.graph.nodes if n.op == "get_attr"}
        self.stored = {name: None for name in self.stored if name in used}

    def _copy(self, node: fx.Node) -> fx.Node:
        if node in self._skips:
            skip: fx.Node = self._map(self._skips[node])
            if is_written_later(node):
                return self.graph.call_function(torch.ops.aten.clone.default, (skip,))
            return skip
        edit = self._edits.get(node)
        if edit is None:
            args, kwargs = self._map(node.args), self._map(node.kwargs)
            new = self.graph.create_node(
                node.op, node.target, tuple(args), dict(kwargs), name=node.name
            )
        else:
            positional, named = [], {}
            for parameter in edit.target._schema.arguments:
                if parameter.name in edit.literals:
                    value = self._literal(edit.literals[parameter.name])
                elif parameter.name in edit.arguments:
                    value = self._map(edit.arguments[parameter.name])
                else:
                    continue
                if parameter.kwarg_only:
                    named[parameter.name] = value
                else:
                    positional.append(value)
            new = self.graph.create_node(
                node.op, edit.target, tuple(positional), named, name=node.name
            )
        for key in ("nn_module_stack", "stack_trace"):
            if key in node.meta:
                new.meta[key] = node.meta[key]
        return new

    def _map(self, value: Any) -> Any:
        return fx.node.map_arg(value, self._node)

    def _node(self, node: fx.Node) -> Any:
        if node in self._made:
            return self._made[node]
        if node.op == "placeholder":
            source = self._one.sources[node]
            name = self._structure.analysis.canonical.get(source.name, source.name)
            self.stored[name] = None
            self._made[node] = self.graph.create_node("get_attr", name)
        elif node.op == "get_attr":
            name = str(node.target)
            self.stored[name] = None
            self._made[node] = self.graph.create_node("get_attr", name)
        return self._made[node]

    # -- literals -----------------------------------------------------------------------------
    def _literal(self, value: Any) -> Any:
        if isinstance(value, Flag):
            if self._flag is None:
                with self.graph.inserting_after(self._inputs[-1]):
                    self._flag = self.graph.create_node("get_attr", "training", name="in_training")
            return self._flag
        if isinstance(value, Padding):
            window = self._windows[value.index]
            return [
                p - d * (value.full - window) // 2
                for p, d in zip(value.padding, value.dilation, strict=True)
            ]
        if isinstance(value, Resized):
            if isinstance(value.axes, Axis):
                return self._size(value.axes)
            return [self._size(axis) for axis in value.axes]
        return self._map(value)

    def _size(self, axis: Axis | int) -> int | fx.Node:
        if isinstance(axis, int):
            return axis
        root = axis.find()
        if root.kind == "atom":
            if root.is_runtime:
                return self._batch_size()
            index = self._structure.index.get(root)
            return root.size if index is None else self._counts[index]
        parts = [self._size(part) for part in root.parts]
        combine, total = (operator.add, 0) if root.kind == "concat" else (operator.mul, 1)
        symbols = []
        for part in parts:
            if isinstance(part, int):
                total = combine(total, part)
            else:
                symbols.append(part)
        result: int | fx.Node = total
        for symbol in symbols:
            is_neutral = result == (0 if combine is operator.add else 1)
            result = symbol if is_neutral else self.graph.call_function(combine, (symbol, result))
        return result

    def _batch_size(self) -> fx.Node:
        if self._batch is None:
            assert self._batch_leaf is not None
            with self.graph.inserting_after(self._inputs[-1]):
                self._batch = self.graph.call_function(
                    torch.ops.aten.sym_size.int, (self._inputs[self._batch_leaf], 0)
                )
        return self._batch


def _nested(leaves: list[Any], spec: pytree.TreeSpec) -> Any:
    """The output as nested tuples, lists and dicts, which is what a graph can return."""
    value = pytree.tree_unflatten(leaves, spec)
    if _is_plain(value):
        return value
    if hasattr(value, "items"):
        return dict(value.items())
    return tuple(leaves)


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    return isinstance(value, fx.Node) or value is None or isinstance(value, (bool, int, float))


def extract_graph(
    specialisers: Sequence[Specialiser],
    tensors: Mapping[str, Tensor],
    persistent: Mapping[str, bool],
    class_name: str,
) -> nn.Module:
    """The module of one config.

    Args:
        specialisers: One for each captured graph, evaluation first.
        tensors: The cut tensors by canonical name, parameters as ``nn.Parameter``.
        persistent: For each buffer, whether it belongs to the state dict.
        class_name: Name of the module's class.
    """
    graphs = [s.build() for s in specialisers]
    names = {name for s in specialisers for name in s.stored}
    parameters = {n: t for n, t in tensors.items() if n in names and isinstance(t, nn.Parameter)}
    buffers = {n: (t, persistent[n]) for n, t in tensors.items() if n in names - set(parameters)}
    modules = []
    for graph in graphs:
        root = nn.Module()
        hold(root, parameters, buffers)
        module = fx.GraphModule(root, graph, class_name)
        hold(module, parameters, buffers)  # GraphModule makes every buffer persistent
        modules.append(module)
    return modules[0] if len(modules) == 1 else TwoMode(*modules)
