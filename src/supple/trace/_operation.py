"""What an operator rule sees: one call of the graph, its arguments as axes, and the verbs to use.

A rule is a function from an `Operation` to the axes of its output. It unifies the axes that must
agree, fixes those the operator depends on, and says which literal sizes follow from axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from supple.trace._axis import ONE, Axis, Reason, fix, pin, split_concat, split_product, unify
from supple.trace._graph import named_arguments
from supple.trace._sizes import plain_shapes

if TYPE_CHECKING:
    from supple.trace._analyse import Analysis

__all__ = ["Axes", "Operation"]

Axes = tuple[Axis, ...]
"""The axes of one tensor, one for each dimension."""


class Operation:
    """One call of an operator.

    Attributes:
        node: The call in the graph.
        arguments: The arguments by their name in the operator's schema, defaults filled in;
            calls whose target has no schema get names ``0``, ``1``, …
    """

    def __init__(self, analysis: Analysis, node: fx.Node) -> None:
        self.analysis = analysis
        self.node = node
        self.arguments = named_arguments(node)

    # -- reading ------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        """The operator as a person knows it: ``conv2d``."""
        target = self.node.target
        if isinstance(target, torch._ops.OpOverload):
            return target._schema.name.removeprefix("aten::")
        return getattr(target, "__name__", str(target))

    def __getitem__(self, argument: str) -> Any:
        """A literal argument."""
        return self.arguments[argument]

    def get(self, argument: str, default: Any = None) -> Any:
        """A literal argument, or the default where the operator has none of that name."""
        return self.arguments.get(argument, default)

    def axes(self, argument: str) -> Axes:
        """The axes of a tensor argument."""
        return self.analysis.axes_of(self.arguments[argument])

    def maybe_axes(self, argument: str) -> Axes | None:
        """The axes of a tensor argument, or None where it was not given."""
        value = self.arguments.get(argument)
        return self.analysis.axes_of(value) if isinstance(value, fx.Node) else None

    def tensors(self) -> list[fx.Node]:
        """All arguments that are tensors, lists included."""
        return [n for n in self.node.all_input_nodes if self.analysis.has_axes(n)]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of the (first) output in the full network."""
        return shape_of(self.node)

    @property
    def out_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of all outputs in the full network."""
        return plain_shapes(self.node.meta["val"])

    @property
    def is_written(self) -> bool:
        """Some call writes in place to the memory that the output may share."""
        return self.analysis.is_written(self.node)

    # -- saying -------------------------------------------------------------------------------
    def reason(self, text: str) -> Reason:
        """A reason that names this operator and the user's line."""
        return Reason(self.name, text, self.analysis.where(self.node))

    def unify(self, a: Axis, b: Axis) -> None:
        """These axes are one and the same."""
        unify(a, b, self.reason("ties sizes that cannot be expressed together"))

    def unify_all(self, pairs: Iterable[tuple[Axis, Axis]]) -> None:
        """Each pair of axes is one and the same."""
        for a, b in pairs:
            self.unify(a, b)

    def fix(self, axes: Axis | Iterable[Axis], text: str) -> None:
        """These axes may not be cut."""
        for axis in [axes] if isinstance(axes, Axis) else axes:
            fix(axis, self.reason(text))

    def score(self, axis: Axis, text: str, *, least: int = 1) -> None:
        """This axis is normalised or ranked: it may not be cut, unless it is one of experts."""
        numbers = self.analysis.numbers
        if numbers is None or not numbers.score(self, axis, text, least=least):
            self.fix(axis, text)

    def numbered(self, argument: Any) -> Axis | None:
        """The axis whose indices a tensor of integers holds, where that is known."""
        numbers = self.analysis.numbers
        return None if numbers is None else numbers.of.get(argument)

    def ranks(self, axis: Axis) -> None:
        """The call gives values and their positions along this axis."""
        if self.analysis.numbers is not None:
            self.analysis.numbers.ranked[self.node] = axis

    def gives_numbers(self, axis: Axis) -> None:
        """The call gives positions along this axis."""
        if self.analysis.numbers is not None:
            self.analysis.numbers.of[self.node] = axis

    def counts(self, node: fx.Node, *, are: bool = False) -> bool:
        """Whether a tensor counts something for every index of an axis (or that it does)."""
        numbers = self.analysis.numbers
        if numbers is None:
            return False
        if are or (node in numbers.counts and node is not self.node):
            numbers.counts |= {node, self.node}
        return node in numbers.counts

    def look_up(self, axis: Axis, numbers: Any, text: str) -> None:
        """The axis is looked up by numbers: it is theirs, or else it stays whole."""
        other = self.numbered(numbers)
        if other is not None and other.size == axis.size:
            self.unify(axis, other)
            return
        self.fix((axis, *([other] if other is not None else [])), text)

    def pin(self, axes: Axis | Iterable[Axis], text: str) -> None:
        """These axes keep the size they have in the example, the batch too."""
        for axis in [axes] if isinstance(axes, Axis) else axes:
            pin(axis, self.reason(text))

    def fixed(self, size: int, text: str = "is made by the operator") -> Axis:
        """A new axis that may not be cut."""
        return ONE if size == 1 else Axis(size, reason=self.reason(text))

    def literal(self, size: int) -> Axis:
        """A new axis that is free: a size the operator was given, along which all is alike."""
        return ONE if size == 1 else Axis(size)

    def align(self, *operands: Axes) -> Axes:
        """Unifies operands under broadcasting; returns the axes of the result."""
        rank = max(len(o) for o in operands)
        result = []
        for position in range(-rank, 0):
            here = [o[position] for o in operands if len(o) >= -position]
            wide = [axis for axis in here if axis.size != 1]
            for axis in wide[1:]:
                self.unify(wide[0], axis)
            result.append(wide[0] if wide else ONE)
        return tuple(result)

    def factor(self, axis: Axis, outer: int) -> tuple[Axis, Axis]:
        """The axis as outer times inner; fixed where that cannot be expressed."""
        halves = split_product(axis, outer, self.reason("regroups unevenly"))
        if halves is not None:
            return halves
        self.pin(axis, f"splits {axis.size} into {outer} groups unevenly")
        return self.fixed(outer), self.fixed(axis.size // outer)

    def cut(self, axis: Axis, sizes: Sequence[int]) -> list[Axis]:
        """The axis as consecutive segments of these sizes; fixed where not expressible."""
        if axis.is_constant:
            return [self.fixed(size) for size in sizes]
        pieces: list[Axis] = []
        rest = axis
        for size in sizes[:-1]:
            halves = split_concat(rest, size, self.reason("cuts unevenly"))
            if halves is None:
                self.pin(axis, "cuts the axis inside an indivisible part")
                return [self.fixed(s) for s in sizes]
            pieces.append(halves[0])
            rest = halves[1]
        return [*pieces, rest]

    def resize(self, argument: str, axes: Axis | int | Sequence[Axis | int]) -> None:
        """The literal ``argument`` is the size of an axis, or a list of such sizes."""
        if isinstance(axes, int):
            self.analysis.pin(self.node, argument, axes)
        else:
            self.analysis.resize(self.node, argument, axes)

    def set_literal(self, argument: str, value: Any) -> None:
        """The literal ``argument`` is pinned to what it is in the full network."""
        self.analysis.pin(self.node, argument, value)

    def retarget(self, target: Any, arguments: dict[str, Any]) -> None:
        """Another operator does the same here and takes sizes that can be recomputed."""
        self.analysis.retarget(self.node, target, arguments)

    def role(self, axis: Axis, role: str) -> None:
        """Names what an axis is to the network."""
        for atom in axis.atoms():
            atom.role = atom.role or role


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's (first) tensor in plain numbers."""
    return plain_shapes(node.meta["val"])[0]
