"""Views: the same elements under other dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from supple.trace._axis import ONE, Axis, concat, product
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


def _regroup(op: Operation, x: Axes, sizes: Sequence[int]) -> Axes:
    """The axes after a reshape; dimensions that do not divide are fixed, the others pass."""
    result: list[Axis] = []
    i = j = 0
    while i < len(x) or j < len(sizes):
        start_i, start_j, left, right = i, j, 1, 1
        while (i, j) == (start_i, start_j) or left != right:
            # The shortest run of dimensions on both sides with equal products.
            if i < len(x) and (left <= right or j == len(sizes)):
                left *= x[i].size
                i += 1
            else:
                right *= sizes[j]
                j += 1
        result.extend(_regroup_run(op, x[start_i:i], sizes[start_j:j]))
    return tuple(result)


def _regroup_run(op: Operation, x: Axes, sizes: Sequence[int]) -> list[Axis]:
    pool = [factor for axis in x for factor in axis.factors()]
    result: list[Axis] = []
    for size in sizes:
        taken: list[Axis] = []
        remaining = size
        while remaining > 1:
            factor = pool.pop(0)
            if remaining % factor.size == 0:
                taken.append(factor)
                remaining //= factor.size
                continue
            if factor.size % remaining:
                op.pin(x, f"reshapes {[a.size for a in x]} to {list(sizes)}")
                return [op.fixed(n, "is reshaped") for n in sizes]
            outer, inner = op.factor(factor, remaining)
            taken.append(outer)
            pool[0:0] = inner.factors()
            remaining = 1
        result.append(product(taken))
    return result


@rule(
    "view",
    "reshape",
    "_unsafe_view",
    "_reshape_alias",
    "view_as",
    "reshape_as",
    "_reshape_copy",
)
def view(op: Operation) -> Axes:
    """Factors are dealt out anew in row-major order; the sizes follow the axes."""
    x = op.axes("self")
    if op.get("dtype") is not None:
        op.fix(x, "is reinterpreted as another dtype")
        return tuple(op.fixed(n) for n in op.out_shape)
    out = _regroup(op, x, op.out_shape)
    if op.name == "view" and not op.is_written:
        # Strides may be others than while capturing: those of a cut tensor, of another kernel.
        sizes = {"self": op["self"], "shape": op["size"]}
        op.retarget(torch.ops.aten.reshape.default, sizes)
        op.resize("shape", out)
    elif "size" in op.arguments:
        op.resize("size", out)
    elif "shape" in op.arguments:
        op.resize("shape", out)
    return out


@rule("ravel")
def ravel(op: Operation) -> Axes:
    """All axes become their product."""
    return (product(op.axes("self")),)


@rule("flatten")
def flatten(op: Operation) -> Axes:
    """Several axes become their product."""
    x = op.axes("self")
    if not x:
        return (ONE,)
    first, last = op["start_dim"] % len(x), op["end_dim"] % len(x)
    return (*x[:first], product(x[first : last + 1]), *x[last + 1 :])


@rule("unflatten")
def unflatten(op: Operation) -> Axes:
    """One axis becomes several."""
    x = op.axes("self")
    dim = op["dim"] % len(x)
    count = len(op["sizes"])
    parts = _regroup(op, (x[dim],), op.out_shape[dim : dim + count])
    op.resize("sizes", parts)
    return (*x[:dim], *parts, *x[dim + 1 :])


@rule("permute")
def permute(op: Operation) -> Axes:
    """Axes in another order."""
    x = op.axes("self")
    return tuple(x[d] for d in op["dims"])


@rule("transpose", "swapaxes", "swapdims")
def transpose(op: Operation) -> Axes:
    """Two axes change places."""
    x = list(op.axes("self"))
    a, b = (op.get(n) for n in _transposed(op))
    if x:
        x[a], x[b] = x[b], x[a]
    return tuple(x)


def _transposed(op: Operation) -> tuple[str, str]:
    return ("dim0", "dim1") if "dim0" in op.arguments else ("axis0", "axis1")


@rule("t", "numpy_T", "mT", "adjoint", "matrix_H")
def t(op: Operation) -> Axes:
    """The last two axes change places."""
    x = op.axes("self")
    if op.name == "numpy_T" or len(x) < 2:
        return x[::-1]
    return (*x[:-2], x[-1], x[-2])


@rule("movedim", "moveaxis")
def movedim(op: Operation) -> Axes:
    """Some axes move, the others keep their order."""
    x = op.axes("self")
    source, target = op["source"], op["destination"]
    sources = [d % len(x) for d in ([source] if isinstance(source, int) else source)]
    targets = [d % len(x) for d in ([target] if isinstance(target, int) else target)]
    rest = iter(i for i in range(len(x)) if i not in sources)
    placed = dict(zip(targets, sources, strict=True))
    return tuple(x[placed[i]] if i in placed else x[next(rest)] for i in range(len(x)))


@rule("squeeze")
def squeeze(op: Operation) -> Axes:
    """Drops dimensions that have size one in the full network, and only those."""
    x = op.axes("self")
    dims = op.get("dim")
    if dims is None:
        dims = range(len(x))
    chosen = [d % len(x) for d in ([dims] if isinstance(dims, int) else dims)] if x else []
    dropped = [d for d in chosen if x[d].size == 1]
    if x:  # an axis that is cut to one index stays
        op.retarget(torch.ops.aten.squeeze.dims, {"self": op["self"], "dim": dropped})
    return tuple(axis for i, axis in enumerate(x) if i not in dropped)


@rule("hsplit", "vsplit", "dsplit")
def split_along(op: Operation) -> list[Axes]:
    """A split along a dimension that the name says."""
    x = op.axes("self")
    dim = {"vsplit": 0, "dsplit": 2}.get(op.name, min(1, len(x) - 1))
    return _split(op, x, dim)


@rule("unsqueeze")
def unsqueeze(op: Operation) -> Axes:
    """A new dimension of size one."""
    x = list(op.axes("self"))
    x.insert(op["dim"] % (len(x) + 1), ONE)
    return tuple(x)


@rule("expand", "expand_as", "broadcast_to")
def expand(op: Operation) -> Axes:
    """Dimensions of size one are repeated; new ones come first."""
    x, shape = op.axes("self"), op.out_shape
    lead = len(shape) - len(x)
    out = tuple(
        x[i - lead] if i >= lead and x[i - lead].size == n else op.literal(n)
        for i, n in enumerate(shape)
    )
    if "other" in op.arguments:
        return op.align(out, op.axes("other"))
    op.resize("size", out)
    return out


@rule("repeat", "tile")
def repeat(op: Operation) -> Axes:
    """The whole tensor is repeated along each dimension."""
    name = "repeats" if "repeats" in op.arguments else "dims"
    counts = list(op[name])
    x = op.axes("self")
    x = (*(ONE for _ in range(len(counts) - len(x))), *x)
    counts = [1] * (len(x) - len(counts)) + counts
    times = [op.literal(n) for n in counts]
    op.resize(name, times)
    return tuple(product((n, axis)) for n, axis in zip(times, x, strict=True))


@rule("repeat_interleave")
def repeat_interleave(op: Operation) -> Axes:
    """Every index is repeated in place."""
    x = op.axes("self") if "self" in op.arguments else op.axes("repeats")
    repeats, dim = op.get("repeats"), op.get("dim")
    if isinstance(repeats, fx.Node) or dim is None:
        op.fix(x, "is repeated by a computed number")
        return tuple(op.fixed(n) for n in op.out_shape)
    times = op.literal(repeats)
    op.resize("repeats", times)
    dim %= len(x)
    repeated = product((x[dim], times))
    if op.get("output_size") is not None:
        op.resize("output_size", repeated)
    return (*x[:dim], repeated, *x[dim + 1 :])


@rule("cat", "concatenate", "concat")
def cat(op: Operation) -> Axes:
    """One axis is the parts one after another; the others agree."""
    parts = [op.analysis.axes_of(n) for n in op["tensors"]]
    parts = [p for p in parts if not (len(p) == 1 and p[0].size == 0)]
    return _joined(op, parts, op["dim"] % len(parts[0]))


def _joined(op: Operation, parts: Sequence[Axes], dim: int) -> Axes:
    rest = [(*p[:dim], ONE, *p[dim + 1 :]) for p in parts]
    out = list(op.align(*rest))
    out[dim] = concat(p[dim] for p in parts)
    return tuple(out)


@rule("hstack", "vstack", "dstack", "row_stack", "column_stack")
def stack_up(op: Operation) -> Axes:
    """Tensors side by side, after those of few dimensions got more."""
    parts = [_padded(op.name, op.analysis.axes_of(node)) for node in op["tensors"]]
    dim = {"vstack": 0, "row_stack": 0, "dstack": 2}.get(op.name, min(1, len(parts[0]) - 1))
    return _joined(op, parts, dim)


def _padded(name: str, x: Axes) -> Axes:
    if name in ("vstack", "row_stack"):
        return x if len(x) > 1 else (ONE, *x) if x else (ONE, ONE)
    if name == "column_stack":
        return x if len(x) > 1 else (*x, ONE) if x else (ONE, ONE)
    if name == "dstack":
        return x if len(x) > 2 else (*x, ONE) if len(x) == 2 else (ONE, *(x or (ONE,)), ONE)
    return x or (ONE,)


@rule("atleast_1d", "atleast_2d", "atleast_3d")
def at_least(op: Operation) -> Axes | list[Axes]:
    """Dimensions of size one are added."""

    def padded(x: Axes) -> Axes:
        if op.name == "atleast_1d":
            return x or (ONE,)
        return _padded("vstack" if op.name == "atleast_2d" else "dstack", x)

    if "self" in op.arguments:
        return padded(op.axes("self"))
    return [padded(op.analysis.axes_of(node)) for node in op["tensors"]]


@rule("broadcast_tensors")
def broadcast_tensors(op: Operation) -> list[Axes]:
    """All operands get the shape of their sum."""
    return [op.align(*map(op.analysis.axes_of, op["tensors"]))] * len(op["tensors"])


@rule("meshgrid")
def meshgrid(op: Operation) -> list[Axes]:
    """One axis for each vector, the first two exchanged for ``xy``."""
    axes = [(op.analysis.axes_of(node) or (ONE,))[0] for node in op["tensors"]]
    if op.get("indexing") == "xy" and len(axes) > 1:
        axes[:2] = axes[1::-1]
    return [tuple(axes)] * len(axes)


@rule("stack")
def stack(op: Operation) -> Axes:
    """A new axis that numbers the tensors."""
    parts = [op.analysis.axes_of(n) for n in op["tensors"]]
    out = list(op.align(*parts)) if parts[0] else []
    out.insert(op["dim"] % (len(out) + 1), op.fixed(len(parts), "numbers the stacked tensors"))
    return tuple(out)


@rule(
    "split",
    "split_with_sizes",
    "chunk",
    "tensor_split",
    "unsafe_split",
    "unsafe_chunk",
    "unsafe_split_with_sizes",
)
def split(op: Operation) -> list[Axes]:
    """The axis is cut into segments; the sizes follow them."""
    x = op.axes("self")
    return _split(op, x, op["dim"] % len(x))


def _split(op: Operation, x: Axes, dim: int) -> list[Axes]:
    sizes = [shape[dim] for shape in op.out_shapes]
    pieces = op.cut(x[dim], sizes)
    if not x[dim].is_constant:
        op.retarget(
            torch.ops.aten.split_with_sizes.default,
            {"self": op["self"], "split_sizes": sizes, "dim": dim},
        )
        op.resize("split_sizes", pieces)
    return [(*x[:dim], piece, *x[dim + 1 :]) for piece in pieces]


@rule("pad", "constant_pad_nd")
def pad(op: Operation) -> Axes:
    """Padding with a constant adds segments that are free to follow what they meet."""
    x = list(op.axes("self"))
    amounts: list[int] = list(op["pad"])
    recomputed: list[Axis | int] = list(amounts)
    is_constant = op.get("mode", "constant") == "constant"
    for k in range(len(amounts) // 2):
        dim = len(x) - 1 - k
        before, after = amounts[2 * k], amounts[2 * k + 1]
        if not before and not after:
            continue
        if x[dim].is_constant or not is_constant or before < 0 or after < 0:
            op.fix(x[dim], "is padded")
            x[dim] = op.fixed(op.out_shape[dim], "is padded")
            continue
        margins = [Axis(n) for n in (before, after)]
        recomputed[2 * k : 2 * k + 2] = [margins[0] if before else 0, margins[1] if after else 0]
        segments = [margins[0]] * bool(before) + [x[dim]] + [margins[1]] * bool(after)
        x[dim] = concat(segments)
    op.resize("pad", recomputed)
    return tuple(x)


@rule("view_as_real", "view_as_complex", "diagonal", "diag", "diagflat", "diag_embed")
def relaid(op: Operation) -> Axes:
    """The axes that are merged, split or walked diagonally stay whole."""
    x = op.axes("self")
    if op.name == "view_as_real":
        return (*x, op.fixed(2, "is real and imaginary part"))
    if op.name == "view_as_complex":
        op.fix(x[-1], "is real and imaginary part")
        return x[:-1]
    op.fix(x, "is walked diagonally")
    return tuple(op.fixed(n, "is a diagonal") for n in op.out_shape)
