"""Linear maps, matrix products and einsum: contracted axes agree, the others pass."""

from __future__ import annotations

from torch import fx

from supple.trace._axis import ONE, Axis, product
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule("linear")
def linear(op: Operation) -> Axes:
    """``x @ weight.T + bias``."""
    x, weight, bias = op.axes("input"), op.axes("weight"), op.maybe_axes("bias")
    op.unify(x[-1], weight[-1])
    if len(weight) == 1:
        return x[:-1]
    if bias is not None and bias:
        op.unify(bias[0], weight[0])
    return (*x[:-1], weight[0])


def _matmul(op: Operation, a: Axes, b: Axes) -> Axes:
    op.unify(a[-1], b[-2] if len(b) > 1 else b[0])
    rows = (a[-2],) if len(a) > 1 else ()
    columns = (b[-1],) if len(b) > 1 else ()
    batch = op.align(a[:-2], b[:-2])
    return (*batch, *rows, *columns)


@rule("matmul", "mm", "bmm", "mv", "dot", "vdot", "linalg_matmul")
def matmul(op: Operation) -> Axes:
    """The last axis of the first operand meets the last but one of the second."""
    first, second = op.tensors() if len(op.tensors()) == 2 else op.tensors() * 2
    a, b = op.analysis.axes_of(first), op.analysis.axes_of(second)
    result = _matmul(op, a, b)
    if len(a) >= 4 and len(b) >= 4:  # attention by hand
        op.role(a[-3], "heads")
        op.role(a[-1], "head_size")
        op.role(b[-1], "head_size")
    return result


@rule("addr")
def addr(op: Operation) -> Axes:
    """``bias + a b^T``, with the bias broadcast."""
    return op.align(op.axes("self"), (*op.axes("vec1"), *op.axes("vec2")))


@rule("addmm", "addbmm", "baddbmm", "addmv")
def addmm(op: Operation) -> Axes:
    """``bias + a @ b``, with the bias broadcast."""
    names = {"addmm": ("mat1", "mat2"), "addmv": ("mat", "vec")}
    first, second = names.get(op.name.rstrip("_"), ("batch1", "batch2"))
    out = _matmul(op, op.axes(first), op.axes(second))
    if op.name.startswith("addbmm"):
        op.fix(out[0], "is summed over")
        out = out[1:]
    return op.align(op.axes("self"), out)


@rule("_grouped_mm", "transformers::grouped_mm_fallback")
def grouped_mm(op: Operation) -> Axes:
    """Rows (n, in), sorted by expert, times the weight (experts, in, out) of their expert."""
    names = ("self", "mat2") if "mat2" in op.arguments else ("input", "weight")
    x, weight, bias = op.axes(names[0]), op.axes(names[1]), op.maybe_axes("bias")
    assert len(x) == 2
    assert len(weight) == 3
    op.unify(x[1], weight[1])
    ends = op.get("offs")
    if isinstance(ends, fx.Node) and op.counts(ends):
        op.unify(weight[0], op.axes("offs")[0])
    else:
        experts = [weight[0], *(op.maybe_axes("offs") or ())]
        op.fix(experts, "is looked up by the number of the expert")
    if bias is not None:
        op.unify(bias[-1], weight[2])
        op.align(bias[:-1], (weight[0],))
    return (x[0], weight[2])


@rule("inner")
def inner(op: Operation) -> Axes:
    """The last axes meet; all the others pass."""
    a, b = op.axes("self"), op.axes("other")
    if not a or not b:
        return op.align(a, b)
    op.unify(a[-1], b[-1])
    return (*a[:-1], *b[:-1])


@rule("tensordot")
def tensordot(op: Operation) -> Axes:
    """Pairs of axes meet; all the others pass."""
    a, b = op.axes("self"), op.axes("other")
    left = [d % len(a) for d in op["dims_self"]]
    right = [d % len(b) for d in op["dims_other"]]
    op.unify_all((a[i], b[j]) for i, j in zip(left, right, strict=True))
    rest = [x for i, x in enumerate(a) if i not in left]
    return (*rest, *(x for j, x in enumerate(b) if j not in right))


@rule("kron")
def kron(op: Operation) -> Axes:
    """Every axis is the product of the operands' axes."""
    a, b = op.axes("self"), op.axes("other")
    rank = max(len(a), len(b))
    a, b = ((*(ONE for _ in range(rank - len(x))), *x) for x in (a, b))
    return tuple(product(pair) for pair in zip(a, b, strict=True))


@rule("outer", "ger")
def outer(op: Operation) -> Axes:
    """All pairs of elements of two vectors."""
    return (*op.axes("self"), *op.axes("vec2"))


@rule("einsum")
def einsum(op: Operation) -> Axes:
    """Axes with the same letter agree; an ellipsis is aligned from the right."""
    equation: str = op["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    operands = [op.analysis.axes_of(n) for n in op["tensors"] if isinstance(n, fx.Node)]
    letters: dict[str, Axis] = {}
    rests: list[Axes] = []
    for term, axes in zip(left.split(","), operands, strict=True):
        head, dots, tail = term.partition("...")
        middle = axes[len(head) : len(axes) - len(tail)] if dots else ()
        rests.append(middle)
        outside = axes[: len(head)] + (axes[len(axes) - len(tail) :] if tail else ())
        for letter, axis in zip(head + tail, outside, strict=True):
            if letter not in letters or letters[letter].size == 1:
                letters[letter] = axis
            elif axis.size != 1:
                op.unify(letters[letter], axis)
    rest = op.align(*rests)
    if not arrow:
        once = sorted(c for c in letters if left.count(c) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    head, _, tail = right.partition("...")
    shared = rest if "..." in right else ()
    return (*(letters[c] for c in head), *shared, *(letters[c] for c in tail))


@rule("bilinear")
def bilinear(op: Operation) -> Axes:
    """``x1 W x2`` with W of shape (out, in1, in2)."""
    a, b, weight, bias = (op.maybe_axes(n) for n in ("input1", "input2", "weight", "bias"))
    assert a is not None and b is not None and weight is not None
    op.unify_all([(a[-1], weight[1]), (b[-1], weight[2])])
    if bias is not None:
        op.unify(bias[0], weight[0])
    return (*op.align(a[:-1], b[:-1]), weight[0])


@rule("embedding_bag", "_embedding_bag")
def embedding_bag(op: Operation) -> list[Axes]:
    """Sums or means of rows of a table; the columns pass."""
    weight = op.axes("weight")
    op.fix(weight[0], "is looked up by index")
    for name in ("indices", "offsets", "per_sample_weights"):
        op.fix(op.maybe_axes(name) or (), "is gathered in bags")
    out, *rest = op.out_shapes
    found = [tuple(op.fixed(n, "counts bags") for n in shape) for shape in rest]
    return [(op.fixed(out[0], "counts bags"), weight[1]), *found]


@rule("embedding")
def embedding(op: Operation) -> Axes:
    """The rows of the table are picked by number, so they stay; its columns pass."""
    weight, indices = op.axes("weight"), op.axes("indices")
    op.fix(weight[0], "is looked up by index")
    return (*indices, weight[1])
