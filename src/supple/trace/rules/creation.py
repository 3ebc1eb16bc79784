"""Tensors made from sizes. Where all elements are alike, the size may follow an axis."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule(
    "empty",
    "full",
    "new_empty",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones",
    "rand",
    "randn",
    "zeros",
    "normal_functional",
)
def alike(op: Operation) -> Axes:
    """Every element is like every other, so the sizes are whatever they meet."""
    axes = tuple(op.literal(n) for n in op.out_shape)
    op.resize("size", axes)
    return axes


@rule("arange")
def arange(op: Operation) -> Axes:
    """From zero in steps of one it numbers whatever it meets; otherwise it is a table."""
    start, step = op.get("start", 0), op.get("step", 1)
    (size,) = op.out_shape
    if start != 0 or step not in (None, 1) or size < 2 or op["end"] != size:
        return (op.fixed(size, "is numbered"),)
    axis = op.literal(size)
    axis.if_stored = op.reason("is numbered")
    op.resize("end", axis)
    return (axis,)


@rule(
    "eye",
    "linspace",
    "logspace",
    "scalar_tensor",
    "tensor",
    "randint",
    "randperm",
    "hann_window",
    "full_int",
)
def distinct(op: Operation) -> Axes:
    """The elements differ by position."""
    for node in op.tensors():
        op.fix(op.analysis.axes_of(node), "is used by position")
    return tuple(op.fixed(n, "is numbered") for n in op.out_shape)


@rule("one_hot")
def one_hot(op: Operation) -> Axes:
    """A new axis of as many classes; it is the one that is numbered, where that is known."""
    x, classes = op.axes("self"), op.out_shape[-1]
    axis = op.numbered(op["self"])
    if axis is None or axis.size != classes or op["num_classes"] < 0:
        op.fix((*x, *([] if axis is None else [axis])), "is used by position")
        return (*(op.fixed(n, "is numbered") for n in op.out_shape),)
    op.resize("num_classes", axis)
    return (*x, axis)
