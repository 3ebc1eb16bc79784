"""Picking elements: by slice, by number, by computed index."""

from __future__ import annotations

from torch import fx

from supple.trace._axis import concat
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule("slice")
def slice_(op: Operation) -> Axes:
    """A contiguous piece of an axis is a segment of it."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    size = x[dim].size
    start = min(max((op["start"] or 0) + (size if (op["start"] or 0) < 0 else 0), 0), size)
    out = op.out_shape[dim]
    if op["step"] == 1 and out == size:
        op.set_literal("start", 0)
        op.set_literal("end", _FOREVER)
        return tuple(x)
    if op["step"] != 1 or out == 0:
        op.fix(x[dim], "is sliced with a step")
        x[dim] = op.fixed(out, "is a slice")
        return tuple(x)
    sizes = [n for n in (start, out, size - start - out) if n]
    pieces = op.cut(x[dim], sizes)
    index = 1 if start else 0
    if not x[dim].is_constant:
        before = pieces[:index]
        op.resize("start", before[0] if before else 0)
        op.resize("end", concat(pieces[: index + 1]))
    x[dim] = pieces[index]
    return tuple(x)


_FOREVER = 9223372036854775807


@rule("narrow")
def narrow(op: Operation) -> Axes:
    """A slice by start and length."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    start, length, size = op["start"], op["length"], x[dim].size
    if not isinstance(start, int):
        op.fix(x[dim], "is sliced at a computed place")
        x[dim] = op.fixed(length, "is a slice")
        return tuple(x)
    start %= size
    pieces = op.cut(x[dim], [n for n in (start, length, size - start - length) if n])
    index = 1 if start else 0
    op.resize("start", pieces[0] if start else 0)
    op.resize("length", pieces[index])
    x[dim] = pieces[index]
    return tuple(x)


@rule("select")
def select(op: Operation) -> Axes:
    """One index of an axis: that factor stays whole, its neighbours do not care."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.fix(x[dim], "is indexed by number")
    del x[dim]
    return tuple(x)


@rule("unbind")
def unbind(op: Operation) -> list[Axes]:
    """All indices of an axis, one by one."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.fix(x[dim], "is taken apart by number")
    count = x[dim].size
    del x[dim]
    return [tuple(x)] * count


@rule("index", "_unsafe_index")
def index(op: Operation) -> Axes:
    """Computed indices: the indexed axes stay whole, the others pass."""
    x = op.axes("self")
    indices = list(op["indices"])
    picked = [i for i, n in enumerate(indices) if isinstance(n, fx.Node)]
    tensors = [op.analysis.axes_of(indices[i]) for i in picked]
    if any(
        indices[i].meta["val"].dtype.is_floating_point is False
        and str(indices[i].meta["val"].dtype) in ("torch.bool", "torch.uint8")
        for i in picked
    ):
        op.fix([axis for axes in (x, *tensors) for axis in axes], "is picked by a mask")
        return tuple(op.fixed(n, "is picked by a mask") for n in op.out_shape)
    op.fix([x[i] for i in picked], "is looked up by index")
    shape = op.align(*tensors)
    kept = [axis for i, axis in enumerate(x) if i not in picked]
    adjacent = picked == list(range(picked[0], picked[-1] + 1))
    at = picked[0] if adjacent else 0
    return (*kept[:at], *shape, *kept[at:])


@rule("index_select")
def index_select(op: Operation) -> Axes:
    """One axis is looked up by index."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.fix(x[dim], "is looked up by index")
    x[dim] = op.axes("index")[0] if op.axes("index") else op.fixed(1)
    return tuple(x)


@rule("gather", "take_along_dim", "scatter", "scatter_add", "scatter_reduce")
def gather(op: Operation) -> Axes:
    """One axis is looked up by index; the others run along."""
    x = list(op.axes("self"))
    indices = op.maybe_axes("index") or op.axes("indices")
    dim = op["dim"] % len(x)
    op.fix((x[dim], indices[dim]), "is looked up by index")
    sources = [s for s in (op.maybe_axes("src"),) if s]
    for i in range(len(x)):
        for other in (indices, *sources):
            if i != dim and other[i].size == x[i].size:
                op.unify(other[i], x[i])
            elif i != dim:
                op.fix((other[i], x[i]), "is looked up in part")
            else:
                op.fix(other[i], "is looked up by index")
    return indices if op.name in ("gather", "take_along_dim") else tuple(x)


@rule("index_add", "index_copy", "index_fill")
def index_add(op: Operation) -> Axes:
    """One axis is written by index; the others run along."""
    x = op.axes("self")
    dim = op["dim"] % len(x)
    op.fix((x[dim], *op.axes("index")), "is written by index")
    source = op.maybe_axes("source")
    for i, axis in enumerate(source or ()):
        if i == dim:
            op.fix(axis, "is written by index")
        else:
            op.unify(axis, x[i])
    return x


@rule("getitem")
def getitem(op: Operation) -> Axes:
    """One tensor of an operator that returns several."""
    values = op.analysis.values[op["0"]]
    assert isinstance(values, list)
    position: int = op["1"]
    return values[position]
