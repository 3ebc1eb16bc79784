"""From a captured graph and a plan to the graph of one sub-network, all sizes filled in."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from supple.elastic._calls import averaging_step, count_batch, dropout_rate
from supple.elastic._inputs import Signature
from supple.elastic._module import is_plain
from supple.elastic._plan import Plan
from supple.elastic._statistics import counter_of
from supple.trace import (
    CHOOSE,
    Average,
    Axis,
    Branch,
    Capture,
    Edit,
    Flag,
    Padding,
    Rate,
    Resized,
    Structure,
    planned_edits,
)
from supple.trace._graph import remove_unused

__all__ = ["Specialiser"]


class Specialiser:
    """Builds the graph of one config from one captured graph.

    Args:
        structure: What may vary.
        one: The captured graph.
        plan: What is kept.
        dropped: The branches that are left out.
        signature: How the network is called.
        places: The device of the model when captured, and the one that takes its place.
        resize: For inputs that are made smaller first their position, and what does that.
    """

    def __init__(
        self,
        structure: Structure,
        one: Capture,
        plan: Plan,
        dropped: Sequence[Branch],
        signature: Signature,
        places: tuple[torch.device, torch.device],
        resize: Sequence[tuple[int, Callable[..., Any], tuple[Any, ...]]] = (),
    ) -> None:
        self._structure = structure
        self._one = one
        self._plan = plan
        self._edits = planned_edits(structure, one)
        self._signature = signature
        self._places = places
        self._resize = {position: (function, arguments) for position, function, arguments in resize}
        self._skips = {b.join: b for b in dropped if b.join.target is not CHOOSE}
        self._taken = {
            branch.join: branch
            for site in structure.swaps
            for key, branch in site.keyed
            if key in plan.blocks
        }
        self._left_out = {node for branch in dropped for node in branch.region}
        self._made: dict[fx.Node, Any] = {}
        self._read: dict[str, fx.Node] = {}
        self._inputs: list[fx.Node] = []
        self._batch: fx.Node | None = None
        self._flag: fx.Node | None = None
        self.graph = fx.Graph()
        self.stored: dict[str, None] = {}
        self.blocks: dict[str, nn.Module] = {}

    def build(self) -> fx.Graph:
        """The finished graph; ``stored`` and ``blocks`` then hold what it reads."""
        for node, source in self._one.sources.items():
            if source.kind == "input":
                name = self._signature.names[int(source.name)]
                self._made[node] = self.graph.placeholder(name)
                self._inputs.append(self._made[node])
        for node, source in self._one.sources.items():
            if source.kind == "input" and int(source.name) in self._resize:
                function, arguments = self._resize[int(source.name)]
                self._made[node] = self.graph.call_function(
                    function, (self._made[node], *arguments)
                )
        for node in self._one.calls:
            if node not in self._left_out:
                self._made[node] = self._copy(node)
        leaves = [self._map(leaf) for leaf in self._one.outputs]
        spec = self._one.out_spec
        self.graph.output(pytree.tree_unflatten(leaves, spec) if is_plain(spec) else leaves)
        remove_unused(self.graph)
        used = {str(n.target) for n in self.graph.nodes if n.op == "get_attr"}
        self.stored = {name: None for name in self.stored if name in used}
        return self.graph

    def _copy(self, node: fx.Node) -> fx.Node:
        instead = self._taken.get(node) or self._skips.get(node)
        if instead is not None:
            skip: fx.Node = self._map(instead.skip)
            if instead.needs_copy:
                return self.graph.call_function(torch.ops.aten.clone.default, (skip,))
            return skip
        self._count_batch(node)
        edit = self._edits.get(node)
        if edit is None:
            args, kwargs = tuple(self._map(node.args)), dict(self._map(node.kwargs))
            new = self.graph.create_node(node.op, node.target, args, kwargs, name=node.name)
        else:
            args, kwargs = self._arguments(edit)
            new = self.graph.create_node(node.op, edit.target, args, kwargs, name=node.name)
        for key in ("nn_module_stack", "stack_trace"):
            if key in node.meta:
                new.meta[key] = node.meta[key]
        return new

    def _arguments(self, edit: Edit) -> tuple[tuple[Any, ...], dict[str, Any]]:
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
        return tuple(positional), named

    def _count_batch(self, node: fx.Node) -> None:
        """Before a norm that trains, where the graph does not count its batches by itself."""
        edit = self._edits.get(node)
        if edit is None or not any(isinstance(v, Flag) for v in edit.literals.values()):
            return
        mean = edit.arguments.get("running_mean")
        source = self._one.sources.get(mean) if isinstance(mean, fx.Node) else None
        if source is not None:
            counter = self._structure.analysis.canonical.get(counter_of(source.name))
            if counter is not None:
                self.graph.call_function(count_batch, (self._stored(counter), self._in_training()))

    def _map(self, value: Any) -> Any:
        captured, current = self._places
        mapped = fx.node.map_arg(value, self._node)
        return pytree.tree_map_only(torch.device, lambda d: current if d == captured else d, mapped)

    def _node(self, node: fx.Node) -> Any:
        if node not in self._made:
            if node.op == "placeholder":
                name = self._one.sources[node].name
                return self._stored(self._structure.analysis.canonical[name])
            # The graph of a torch.cond or the like; it holds no tensors of its own.
            name = f"supple_{node.target}"
            owner: Any = node.graph.owning_module
            self.blocks[name] = getattr(owner, str(node.target))
            self._made[node] = self.graph.create_node("get_attr", name)
        return self._made[node]

    def _stored(self, name: str) -> fx.Node:
        self.stored[name] = None
        if name not in self._read:
            self._read[name] = self.graph.create_node("get_attr", name)
        return self._read[name]

    def _in_training(self) -> fx.Node:
        if self._flag is None:
            with self.graph.inserting_after(self._inputs[-1]):
                self._flag = self.graph.create_node("get_attr", "training", name="in_training")
        return self._flag

    # -- literals -----------------------------------------------------------------------------
    def _literal(self, value: Any) -> Any:
        if isinstance(value, Flag):
            return self._in_training()
        if isinstance(value, Rate):
            return self.graph.call_function(dropout_rate, (value.rate, self._in_training()))
        if isinstance(value, Average):
            mode = self._in_training() if self._one.is_alone else self._one.is_training
            return self.graph.call_function(averaging_step, (self._stored(value.counter), mode))
        if isinstance(value, Padding):
            return value.at(self._plan.windows[value.index])
        if isinstance(value, Resized):
            if isinstance(value.axes, Axis):
                return self._size(value.axes)
            return [self._map(a) if isinstance(a, fx.Node) else self._size(a) for a in value.axes]
        return self._map(value)

    def _size(self, axis: Axis | int) -> int | fx.Node:
        if isinstance(axis, int):
            return axis
        root = axis.find()
        if root.kind == "atom":
            if root.is_runtime:
                return self._batch_size()
            index = self._structure.index.get(root)
            return root.size if index is None else self._plan.counts[index]
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
            leaf = self._signature.batch_leaf
            assert leaf is not None
            with self.graph.inserting_after(self._inputs[-1]):
                self._batch = self.graph.call_function(
                    torch.ops.aten.sym_size.int, (self._inputs[leaf], 0)
                )
        return self._batch
