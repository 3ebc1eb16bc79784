"""Runs the operator rules over the captured graphs and collects what they said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx

from supple.trace._axis import ONE, Axis, Reason, fix
from supple.trace._capture import Capture
from supple.trace._deadline import check_time
from supple.trace._graph import memory_of, named_arguments, writes
from supple.trace._numbers import Numbers
from supple.trace._operation import Axes, Operation
from supple.trace._places import user_frame
from supple.trace._sizes import is_unknown, plain_shape, plain_shapes
from supple.trace._table import find_rule

__all__ = ["Analysis", "Edit", "Resized"]


@dataclass(frozen=True)
class Resized:
    """A literal that is the size of an axis, or a list of such sizes.

    In a list some may be plain numbers, or what the graph itself works out from the data.
    """

    axes: Axis | tuple[Axis | int | fx.Node, ...]


@dataclass
class Edit:
    """How a call differs from the captured one.

    Attributes:
        target: The operator to call.
        arguments: All its arguments by name, before the literals below.
        literals: Arguments that are recomputed from axes (`Resized`) or pinned to a value.
    """

    target: Any
    arguments: dict[str, Any]
    literals: dict[str, Any]


class Analysis:
    """The axes of every tensor of one or two graphs that share parameters.

    Args:
        captures: The graphs of one model.
        shapes: Shape of every parameter and buffer by canonical name.
        canonical: Canonical name of every parameter and buffer, for tied ones the first.
        batch: Leaves of the input (by position) whose dimension 0 is the batch.
        cuts_experts: The experts of a mixture may be fewer.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        shapes: Mapping[str, tuple[int, ...]],
        canonical: Mapping[str, str],
        batch: frozenset[int],
        *,
        cuts_experts: bool = False,
    ) -> None:
        self.captures = captures
        self.canonical = canonical
        self.stored: dict[str, Axes] = {
            name: tuple(_stored(size) for size in shape) for name, shape in shapes.items()
        }
        self.values: dict[fx.Node, Axes | list[Axes] | None] = {}
        self.edits: dict[fx.Node, Edit] = {}
        self.batch_axis = Axis(0, is_runtime=True)
        self.batch_leaves = batch
        self.unknown: list[str] = []
        self.numbers = Numbers() if cuts_experts else None
        self._inputs: dict[tuple[str, tuple[int, ...]], Axes] = {}
        self._written = {
            memory_of(n) for one in captures for call in one.calls for n in writes(call)
        }
        for one in captures:
            self._run(one)
        if self.numbers is not None:
            self.numbers.settle(self.stored.values())

    # -- what rules call ----------------------------------------------------------------------
    def has_axes(self, node: Any) -> bool:
        """The node is one tensor whose axes are known."""
        return isinstance(self.values.get(node), tuple)

    def axes_of(self, node: Any) -> Axes:
        """The axes of one tensor."""
        value = self.values[node]
        assert isinstance(value, tuple), f"{node} is not one tensor"
        return value

    def where(self, node: fx.Node) -> str:
        """The user's line that made the call: ``file:line code``."""
        return user_frame(node.meta.get("stack_trace") or "")

    def is_written(self, node: fx.Node) -> bool:
        """Some call writes in place to the memory of the node."""
        return memory_of(node) in self._written

    def resize(self, node: fx.Node, argument: str, axes: Axis | Sequence[Axis | int]) -> None:
        """A literal follows axes; kept even if they turn out fixed (then it is what it was)."""
        edit = self._edit(node)
        given = edit.arguments.get(argument)
        if isinstance(axes, Axis):
            if not self._is_decided_by_data(axes):
                edit.literals[argument] = Resized(axes)
            return
        known = list(axes)
        for i, axis in enumerate(axes):
            if isinstance(axis, Axis) and self._is_decided_by_data(axis):
                assert isinstance(given, (list, tuple)), "a size that the graph does not work out"
                known[i] = given[i]
        edit.literals[argument] = Resized(tuple(known))

    def _is_decided_by_data(self, axis: Axis) -> bool:
        """Some part of the axis has a size that only the data decide; then all of it is fixed."""
        if not any(is_unknown(atom.size) for atom in axis.atoms()):
            return False
        fix(axis, Reason("size", "is part of a size that the data decide"))
        return True

    def pin(self, node: fx.Node, argument: str, value: Any) -> None:
        """A literal keeps the value it has in the full network."""
        self._edit(node).literals[argument] = value

    def retarget(self, node: fx.Node, target: Any, arguments: dict[str, Any]) -> None:
        """Another operator is called instead."""
        edit = self._edit(node)
        edit.target, edit.arguments = target, arguments

    def _edit(self, node: fx.Node) -> Edit:
        if node not in self.edits:
            self.edits[node] = Edit(node.target, named_arguments(node), {})
        return self.edits[node]

    # -- the pass over a graph ----------------------------------------------------------------
    def _run(self, one: Capture) -> None:
        for node in one.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(one, node)
            elif node.op == "call_function":
                check_time(partial(self.where, node))
                self.values[node] = self._call(node)
        for leaf in one.outputs:
            if isinstance(leaf, fx.Node) and self.has_axes(leaf):
                if self.numbers is not None and leaf in self.numbers.of:
                    fix(self.numbers.of[leaf], Reason("output", "is numbered in an output"))
                for axis in self.axes_of(leaf):
                    fix(axis, Reason("output", "is an output of the model"))

    def _placeholder(self, one: Capture, node: fx.Node) -> Axes | None:
        source = one.sources[node]
        if source.kind in ("parameter", "buffer"):
            return self.stored[self.canonical[source.name]]
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return None
        if source.kind == "constant":
            if source.name not in self.stored:
                self.stored[source.name] = tuple(_stored(n) for n in value.shape)
            return self.stored[source.name]
        key = (source.name, plain_shape(value))  # there may be a graph for each size of the input
        if key not in self._inputs:
            self._inputs[key] = self._input_axes(value, int(source.name))
        return self._inputs[key]

    def _input_axes(self, value: torch.Tensor, leaf: int) -> Axes:
        reason = Reason("input", "is an input of the model")
        axes = [ONE if n == 1 else Axis(int(n), reason=reason) for n in value.shape]
        if leaf in self.batch_leaves:
            self.batch_axis.size = int(value.shape[0])
            axes[0] = self.batch_axis
        return tuple(axes)

    def _call(self, node: fx.Node) -> Axes | list[Axes] | None:
        value = node.meta.get("val")
        function = find_rule(node.target)
        op = Operation(self, node)
        if not _holds_tensors(value):
            if not _is_check(node):
                self._fix_what_is_read(op)
            return None
        if self.numbers is not None:
            self.numbers.pass_on(op)
        if function is not None:
            try:
                return _checked(function(op), value)
            except _UNFIT:
                self.edits.pop(node, None)  # a form the rule does not know: leave it whole
        self.unknown.append(op.name)
        self._fix_inputs(op, "has no rule for this operator")
        fresh = [tuple(map(op.fixed, shape)) for shape in plain_shapes(value)]
        return fresh[0] if isinstance(value, torch.Tensor) else fresh

    def _fix_what_is_read(self, op: Operation) -> None:
        if op.name == "sym_size" and isinstance(op.get("dim"), int):
            op.fix(op.axes("self")[op["dim"]], "is read as a number")
        else:
            self._fix_inputs(op, "is read as a number")

    def _fix_inputs(self, op: Operation, text: str) -> None:
        for node in op.node.all_input_nodes:
            value = self.values.get(node)
            for axes in value if isinstance(value, list) else [value or ()]:
                op.fix(axes, text)


class _Mismatch(Exception):
    """A rule returned axes that do not have the sizes of the operator's output."""


# What a rule raises in a form of its operator that it does not know.
_UNFIT = (
    _Mismatch, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


def _checked(result: Axes | list[Axes], value: Any) -> Axes | list[Axes]:
    """Holds a rule to the shapes that the exporter recorded."""
    if isinstance(value, torch.Tensor):
        if isinstance(result, list):
            raise _Mismatch
        if tuple(a.size for a in result) != plain_shape(value):
            raise _Mismatch
        return result
    if not isinstance(result, list) or len(result) != len(value):
        raise _Mismatch
    for axes, tensor in zip(result, value, strict=True):
        if tuple(a.size for a in axes) != plain_shape(tensor):
            raise _Mismatch
    return result


def _stored(size: int) -> Axis:
    if size == 1:
        return ONE
    axis = Axis(size)
    axis.is_stored = True
    return axis


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(isinstance(v, torch.Tensor) for v in value)
    return isinstance(value, torch.Tensor)


def _is_check(node: fx.Node) -> bool:
    """The call only checks something the exporter recorded, and returns nothing."""
    return "_assert" in str(node.target)
