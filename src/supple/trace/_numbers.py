"""Experts: tensors whose values are numbers of the indices of an axis.

A router scores experts and picks the best; what it picks are numbers, by which the weights of
experts are looked up. The experts may be fewer if all those numbers go nowhere but into axes that
are cut alike: a smaller mixture numbers its own experts. `Numbers` follows them through the graph,
and fixes the axis where they are used in any other way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from supple.trace._axis import Axis, Reason, fix

if TYPE_CHECKING:
    from supple.trace._operation import Axes, Operation

__all__ = ["COUNT", "Numbers"]


def _count(numbers: Tensor, kinds: int) -> Tensor:
    steps = torch.arange(kinds, device=numbers.device, dtype=numbers.dtype)
    return (numbers.flatten()[:, None] == steps).sum(0).to(numbers.dtype)


_LIBRARY = torch.library.Library("supple", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("count(Tensor numbers, int kinds) -> Tensor")  # type: ignore[no-untyped-call]
_LIBRARY.impl("count", _count, "CompositeImplicitAutograd")  # type: ignore[no-untyped-call]
COUNT = torch.ops.supple.count.default
"""How often there is each number from 0 up to ``kinds``: ``histc`` whose steps may be fewer."""

# Operators whose result holds the same numbers in other places.
_PASS_ON = frozenset(
    ("_to_copy", "alias", "clone", "contiguous", "detach", "expand", "flatten", "getitem", "index",
     "index_select", "permute", "reshape", "select", "slice", "sort", "squeeze", "t", "to",
     "transpose", "unsqueeze", "view")
)  # fmt: skip
# Operators whose rules look up what the numbers point at, or count them.
_LOOK_UP = frozenset(
    ("argsort", "empty_like", "gather", "histc", "index", "one_hot", "ones_like", "scatter",
     "scatter_", "scatter_add", "scatter_add_", "sort", "zeros_like")
)  # fmt: skip


class Numbers:
    """What the integers of a graph number.

    Attributes:
        of: For a tensor of numbers the axis whose indices they are.
        ranked: For calls that give values and positions the axis that is ranked.
        counts: Tensors that count something for every index of an axis.
    """

    def __init__(self) -> None:
        self.of: dict[fx.Node, Axis] = {}
        self.ranked: dict[fx.Node, Axis] = {}
        self.counts: set[fx.Node] = set()
        self._scored: list[tuple[Axis, Reason]] = []

    def score(self, op: Operation, axis: Axis, text: str, *, least: int = 1) -> bool:
        """The axis is normalised or ranked; whether it may be one of experts."""
        if any(a.reason is not None or a.is_runtime for a in axis.atoms()) or not axis.size > 1:
            return False
        for atom in axis.atoms():
            atom.role = atom.role or "experts"
            atom.least = max(atom.least, min(least, atom.size))
        self._scored.append((axis, op.reason(text)))
        return True

    def pass_on(self, op: Operation) -> None:
        """Follows the numbers among the inputs of a call, before its rule runs."""
        first = op.node.args[0] if op.node.args else None
        if op.name == "getitem":
            source = self.of if op["1"] == 0 else self.ranked  # sorted numbers; positions
            if isinstance(first, fx.Node) and first in source:
                self.of[op.node] = source[first]
            return
        for node in op.node.all_input_nodes:
            axis = self.of.get(node)
            if axis is None:
                continue
            if op.name in _PASS_ON and first is node:
                self.of[op.node] = axis
            elif op.name not in _LOOK_UP:
                op.fix(axis, "is numbered, and its numbers are used here")
            if node in self.counts and op.name in _PASS_ON:
                self.counts.add(op.node)

    def settle(self, stored: Iterable[Axes]) -> None:
        """Fixes what was scored and turned out to be no stack of experts."""
        stacked = {
            atom
            for axes in stored
            if sum(axis.size > 1 for axis in axes) > 2 and not _is_window(axes[-1])
            for atom in axes[0].atoms()
        }
        for axis, reason in self._scored:
            if not all(atom in stacked for atom in axis.atoms()):
                fix(axis, reason)


def _is_window(axis: Axis) -> bool:
    """The last dimension of the weight of a convolution."""
    return any(a.reason is not None and "window" in a.reason.text for a in axis.atoms())
