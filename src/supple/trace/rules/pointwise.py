"""Operators that act on each element alone, and those that keep every axis as it is."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


# Names that torch does not tag as point-wise, most of them second names of some that are.
@rule(
    "pointwise", "__and__", "__lshift__", "__or__", "__rshift__", "__xor__", "_prelu_kernel",
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "complex",
    "copy", "divide", "fabs", "fix", "float_power", "floor_divide", "greater", "greater_equal",
    "hardswish", "imag", "isclose", "isreal", "less", "less_equal", "log_sigmoid", "masked_fill",
    "multiply", "negative", "not_equal", "polar", "real", "rsub", "special_digamma", "special_erf",
    "special_erfc", "special_erfinv", "special_exp2", "special_expit", "special_expm1",
    "special_gammainc", "special_gammaincc", "special_gammaln", "special_i0", "special_log1p",
    "special_logit", "special_multigammaln", "special_ndtr", "special_polygamma", "special_psi",
    "special_round", "special_sinc", "special_xlogy", "subtract", "true_divide", "where",
)  # fmt: skip
def pointwise(op: Operation) -> Axes:
    """Operands are aligned from the right; axes of size one broadcast."""
    return op.align(*(op.analysis.axes_of(n) for n in op.tensors()))


@rule(
    "_conj", "_neg_view", "_to_copy", "_unsafe_masked_fill", "alias", "alpha_dropout", "bernoulli",
    "cauchy", "chalf", "clone", "conj", "conj_physical", "contiguous", "cpu", "cuda", "degrees",
    "detach", "dropout", "empty_like", "exponential", "feature_alpha_dropout", "feature_dropout",
    "fill", "fill_", "full_like", "geometric", "isfinite", "lift", "lift_fresh",
    "lift_fresh_copy", "log_normal", "ones_like", "pin_memory", "poisson", "radians", "rand_like",
    "randint_like", "randn_like", "relu6", "resolve_conj", "resolve_neg", "rrelu", "selu", "to",
    "to_dense", "type_as", "uniform", "zero", "zeros_like",
)  # fmt: skip
def same(op: Operation) -> Axes:
    """The output has the axes of the first tensor."""
    return op.analysis.axes_of(op.tensors()[0])


@rule("native_dropout", "log_sigmoid_forward", "frexp")
def same_pair(op: Operation) -> list[Axes]:
    """Two outputs with the axes of the input; what is kept for the gradient may be empty."""
    x = op.analysis.axes_of(op.tensors()[0])
    return [x if len(s) == len(x) else tuple(map(op.fixed, s)) for s in op.out_shapes]


@rule("bucketize", "isin")
def compared(op: Operation) -> Axes:
    """Each element is looked up in a table, which stays whole."""
    x = op.axes("self" if "self" in op.arguments else "elements")
    for node in op.tensors()[1:]:
        op.fix(op.analysis.axes_of(node), "is a table that is searched")
    return x


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
