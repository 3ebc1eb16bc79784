"""Reductions drop axes; those whose result names positions fix them."""

from __future__ import annotations

from supple.trace._axis import ONE
from supple.trace._numbers import COUNT
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


def _dims(op: Operation, rank: int) -> list[int]:
    dims = op.get("dim", op.get("dims"))
    if dims is None or dims == []:
        return list(range(rank))
    return [d % rank for d in ([dims] if isinstance(dims, int) else dims)] if rank else []


def _reduce(op: Operation) -> Axes:
    x = op.analysis.axes_of(op.tensors()[0])
    dims = _dims(op, len(x))
    if op.get("keepdim"):
        return tuple(ONE if i in dims else axis for i, axis in enumerate(x))
    return tuple(axis for i, axis in enumerate(x) if i not in dims)


@rule(
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "frobenius_norm",
    "linalg_norm",
    "linalg_vector_norm",
    "logsumexp",
    "special_logsumexp",
    "mean",
    "nanmean",
    "nansum",
    "norm",
    "nuclear_norm",
    "std",
    "sum",
    "var",
)
def reduce(op: Operation) -> Axes:
    """The reduced axes disappear, or stay with size one."""
    return _reduce(op)


@rule("prod")
def prod(op: Operation) -> Axes:
    """Every factor changes the product, so none may go."""
    x = op.axes("self")
    op.fix([x[d] for d in _dims(op, len(x))], "is multiplied together")
    return _reduce(op)


@rule("max", "min", "median", "mode", "nanmedian", "kthvalue")
def reduce_pair(op: Operation) -> Axes | list[Axes]:
    """All elements, two tensors, or values and positions along one axis."""
    if len(op.tensors()) == 2:
        return op.align(*(op.analysis.axes_of(n) for n in op.tensors()))
    if "dim" not in op.arguments:
        return ()
    x = op.axes("self")
    op.score(x[op["dim"]], "is reduced to a position")
    op.ranks(x[op["dim"]])
    return [_reduce(op)] * 2


@rule("aminmax")
def extremes(op: Operation) -> list[Axes]:
    """Smallest and largest along one axis or of all."""
    return [_reduce(op)] * 2


@rule("var_mean", "std_mean")
def moments(op: Operation) -> list[Axes]:
    """Two reductions at once."""
    return [_reduce(op)] * 2


@rule("argmax", "argmin")
def arg_reduce(op: Operation) -> Axes:
    """The result is a position, so the axis keeps its order and size."""
    x = op.axes("self")
    dims = _dims(op, len(x))
    if len(dims) == 1 and op.get("dim") is not None:
        op.score(x[dims[0]], "is reduced to a position")
        op.gives_numbers(x[dims[0]])
    else:
        op.fix([x[d] for d in dims], "is reduced to a position")
    return _reduce(op)


@rule("fliplr", "flipud", "msort")
def ordered_by_name(op: Operation) -> Axes:
    """An order along a dimension that the name says."""
    x = op.axes("self")
    op.fix(x[1 if op.name == "fliplr" else 0], "has an order that matters")
    return x


@rule("cumsum", "cumprod", "logcumsumexp", "flip", "roll", "tril", "triu", "renorm")
def ordered(op: Operation) -> Axes:
    """The order along the axes matters, so they stay whole."""
    x = op.axes("self")
    if op.name.rstrip("_") in ("tril", "triu"):
        dims = [len(x) - 2, len(x) - 1]
    elif op.name == "roll" and not op["dims"]:
        dims = list(range(len(x)))
    else:
        dims = _dims(op, len(x))
    if op.name != "cumsum" or not op.counts(op["self"]):
        op.fix([x[d] for d in dims], "has an order that matters")
    return x


@rule("histc")
def histc(op: Operation) -> Axes:
    """How many values fall into each of equal steps; of numbers, how often there is each."""
    x, bins = op.axes("self"), op["bins"]
    axis = op.numbered(op["self"])
    if axis is not None and (bins, op["min"], op["max"]) == (axis.size, 0, axis.size - 1):
        op.retarget(COUNT, {"numbers": op["self"]})
        op.resize("kinds", axis)
        op.counts(op.node, are=True)
        return (axis,)
    op.fix((*x, *([] if axis is None else [axis])), "gives as many values as the data decide")
    return (op.fixed(bins, "counts values"),)


@rule("cummax", "cummin", "sort")
def ordered_pair(op: Operation) -> list[Axes]:
    """Values and positions along an axis that stays whole."""
    x = op.axes("self")
    if x:
        op.fix(x[op.get("dim", -1)], "has an order that matters")
    return [x, x]


@rule("argsort")
def argsort(op: Operation) -> Axes:
    """Positions along an axis that stays whole."""
    x = op.axes("self")
    op.fix(x[op.get("dim", -1)], "has an order that matters")
    return x


@rule("topk")
def topk(op: Operation) -> list[Axes]:
    """The axis is replaced by one of size k."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.score(x[dim], "is ranked", least=op["k"])
    op.ranks(x[dim])
    x[dim] = op.fixed(op["k"], "are the best k")
    return [tuple(x)] * 2


@rule("diff")
def diff(op: Operation) -> Axes:
    """Differences of neighbours along one axis, which stays whole."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.fix(x[dim], "has an order that matters")
    x[dim] = op.fixed(op.out_shape[dim], "are differences")
    return tuple(x)
