"""Operators that act on each element alone, and those that keep every axis as it is."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule(
    "pointwise",
    "__and__",
    "__lshift__",
    "__or__",
    "__rshift__",
    "__xor__",
    "_prelu_kernel",
    "complex",
    "copy",
    "floor_divide",
    "hardswish",
    "imag",
    "log_sigmoid",
    "masked_fill",
    "polar",
    "real",
    "rsub",
    "special_erf",
    "true_divide",
    "type_as",
    "where",
)
def pointwise(op: Operation) -> Axes:
    """Operands are aligned from the right; axes of size one broadcast."""
    return op.align(*(op.analysis.axes_of(n) for n in op.tensors()))


@rule(
    "_to_copy",
    "alias",
    "alpha_dropout",
    "bernoulli",
    "clone",
    "contiguous",
    "cpu",
    "detach",
    "dropout",
    "empty_like",
    "feature_dropout",
    "fill",
    "fill_",
    "full_like",
    "isfinite",
    "lift",
    "lift_fresh",
    "lift_fresh_copy",
    "native_dropout",
    "ones_like",
    "pin_memory",
    "rand_like",
    "randn_like",
    "relu6",
    "selu",
    "rrelu",
    "to",
    "zero",
    "zeros_like",
)
def same(op: Operation) -> Axes:
    """The output has the axes of the first tensor."""
    return op.analysis.axes_of(op.tensors()[0])


@rule("prelu")
def prelu(op: Operation) -> Axes:
    """A slope for each channel (dimension 1), or one for all."""
    x, weight = op.axes("self"), op.axes("weight")
    if len(x) > 1 and weight[0].size == x[1].size:
        op.unify(weight[0], x[1])
    return x


@rule("glu")
def glu(op: Operation) -> Axes:
    """Both halves of the axis are cut alike."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    value, gate = op.cut(x[dim], [x[dim].size // 2] * 2)
    op.unify(value, gate)
    x[dim] = value
    return tuple(x)
