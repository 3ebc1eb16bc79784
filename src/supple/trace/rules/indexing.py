"""Picking elements: by slice, by number, by computed index."""

from __future__ import annotations

import torch
from torch import fx

from supple.trace._axis import Axis, concat
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
    if size % op["step"] == 0 and start < op["step"] and out == size // op["step"] and out > 1:
        outer, step = op.factor(x[dim], out)  # halves that alternate: one index of the step
        op.fix(step, "is sliced with a step")
        op.set_literal("end", _FOREVER)
        x[dim] = outer
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


@rule("slice_scatter")
def slice_scatter(op: Operation) -> Axes:
    """A contiguous piece of an axis is written anew."""
    x, source = op.axes("self"), op.axes("src")
    dim = op["dim"] % len(x)
    op.unify_all((a, b) for i, (a, b) in enumerate(zip(x, source, strict=True)) if i != dim)
    if x[dim].size == source[dim].size:
        op.unify(x[dim], source[dim])
        op.set_literal("end", _FOREVER)
    else:
        op.fix((x[dim], source[dim]), "is written in part")
    return x


@rule("select_scatter")
def select_scatter(op: Operation) -> Axes:
    """One index of an axis is written anew: that factor stays whole."""
    x = list(op.axes("self"))
    dim = op["dim"] % len(x)
    op.fix(x[dim], "is indexed by number")
    op.unify_all(zip((*x[:dim], *x[dim + 1 :]), op.axes("src"), strict=True))
    return tuple(x)


@rule("masked_scatter")
def masked_scatter(op: Operation) -> Axes:
    """The values come one by one, so their order matters; whole rows may be narrower."""
    x, source, mask = op.axes("self"), op.axes("source"), op["mask"]
    rows = _repeated(mask, len(x))
    fits = len(source) > rows and all(
        a.size == b.size
        for a, b in zip(reversed(x[len(x) - rows :]), reversed(source), strict=False)
    )
    if not fits:
        rows = 0
    for axis, other in zip(x[len(x) - rows :], source[len(source) - rows :], strict=True):
        op.unify(axis, other)
    op.fix((*x[: len(x) - rows], *source[: len(source) - rows]), "is filled in order by a mask")
    op.align(x, op.analysis.axes_of(mask))
    return x


def _repeated(mask: fx.Node, rank: int) -> int:
    """How many of the last axes a mask only repeats."""
    while str(mask.target).startswith(("aten.to.", "aten._to_copy", "aten.clone")):
        mask = mask.all_input_nodes[0]
    if str(mask.target).startswith("aten.expand"):
        mask = mask.all_input_nodes[0]
    count = 0
    shape = mask.meta["val"].shape
    while count < min(len(shape), rank) and shape[len(shape) - 1 - count] == 1:
        count += 1
    return count


@rule("index", "_unsafe_index")
def index(op: Operation) -> Axes:
    """Computed indices: the indexed axes stay whole, the others pass."""
    x = op.axes("self")
    indices = list(op["indices"])
    picked = [i for i, n in enumerate(indices) if isinstance(n, fx.Node)]
    tensors = [op.analysis.axes_of(indices[i]) for i in picked]
    if picked == [0] and _is_mask(indices[0]):
        covered = len(tensors[0])
        op.fix((*x[:covered], *tensors[0]), "is picked by a mask")
        return (op.fixed(op.out_shape[0], "is picked by a mask"), *x[covered:])
    if any(_is_mask(indices[i]) for i in picked):
        op.fix([axis for axes in (x, *tensors) for axis in axes], "is picked by a mask")
        return tuple(op.fixed(n, "is picked by a mask") for n in op.out_shape)
    for i in picked:
        numbers = _numbers(op, indices[i], x[i].size)
        if numbers is not None:
            op.unify(x[i], numbers)  # every index in order: the axis itself
        else:
            op.look_up(x[i], indices[i], "is looked up by index")
    shape = op.align(*tensors)
    kept = [axis for i, axis in enumerate(x) if i not in picked]
    adjacent = picked == list(range(picked[0], picked[-1] + 1))
    at = picked[0] if adjacent else 0
    return (*kept[:at], *shape, *kept[at:])


def _numbers(op: Operation, index: fx.Node, size: int) -> Axis | None:
    """The axis along which an index counts from 0 to ``size``, if it is an arange set up."""
    axes = [axis for axis in op.analysis.axes_of(index) if axis.size > 1]
    if len(axes) != 1 or axes[0].size != size:
        return None
    while op.analysis.has_axes(index) and _keeps_values(index):
        index = index.all_input_nodes[0]
    is_arange = str(index.target).startswith("aten.arange.") and index.args[-1] == size
    return axes[0] if is_arange and len(index.args) == 1 else None


def _keeps_values(node: fx.Node) -> bool:
    name = getattr(getattr(node.target, "_schema", None), "name", "").removeprefix("aten::")
    if name == "add":
        return bool(len(node.args) == 2 and node.args[1] == 0)
    return name in ("unsqueeze", "view", "reshape", "to", "_to_copy", "squeeze", "expand")


@rule("index_put")
def index_put(op: Operation) -> Axes:
    """What is written to by index stays whole; a mask is where the values are put."""
    x, values = op.axes("self"), op.axes("values")
    indices: list[fx.Node] = [n for n in op["indices"] if isinstance(n, fx.Node)]
    tensors = [op.analysis.axes_of(n) for n in indices]
    are_first = list(op["indices"])[: len(indices)] == indices
    is_mask = len(indices) == 1 and are_first and _is_mask(indices[0])
    covered = len(tensors[0]) if is_mask else len(indices)
    if is_mask and len(values) <= len(x) - covered:  # the same values at every place
        op.unify_all(zip(tensors[0], x[:covered], strict=True))
        op.align(x[covered:], values)
        return x
    if not are_first or (not is_mask and any(map(_is_mask, indices))):
        covered = len(x)
    rows = min(len(x) - covered, len(values))
    op.align(x[covered:], values[len(values) - rows :])
    lead = values[: len(values) - rows]
    if not is_mask and lead:
        op.align(lead, *tensors)
    for axes in (x[:covered], lead, *tensors):
        op.fix(axes, "is written by index")
    return x


def _is_mask(node: fx.Node) -> bool:
    return node.meta["val"].dtype in (torch.bool, torch.uint8)


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
    node = op.get("index") or op["indices"]
    op.look_up(x[dim], node, "is looked up by index")
    op.fix(indices[dim], "is looked up by index")
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
