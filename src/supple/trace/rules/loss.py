"""Losses and distances: element-wise, then a reduction over everything or over one axis."""

from __future__ import annotations

from supple.trace._axis import ONE
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule(
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "hinge_embedding_loss",
    "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss", "poisson_nll_loss",
    "smooth_l1_loss", "soft_margin_loss",
)  # fmt: skip
def elementwise_loss(op: Operation) -> Axes:
    """One number for each element, or their mean or sum."""
    out = op.align(*(op.analysis.axes_of(n) for n in op.tensors()))
    return out if op.out_shape else ()


@rule("cross_entropy_loss", "nll_loss_nd", "nll_loss", "nll_loss2d")
def class_loss(op: Operation) -> Axes:
    """The classes are looked up by number."""
    x, target, weight = op.axes("self"), op.axes("target"), op.maybe_axes("weight")
    classes = 1 if len(x) > 1 else 0
    op.fix(x[classes], "numbers the classes")
    rest = (*x[:classes], *x[classes + 1 :])
    if len(target) == len(x):  # probabilities
        op.align(x, target)
    else:
        op.align(rest, target)
    if weight is not None:
        op.unify(weight[0], x[classes])
    return rest if op.out_shape else ()


@rule("cosine_similarity", "linalg_vecdot")
def along(op: Operation) -> Axes:
    """Two tensors meet along one axis, which disappears."""
    first, second = op.tensors() if len(op.tensors()) == 2 else op.tensors() * 2
    x = list(op.align(op.analysis.axes_of(first), op.analysis.axes_of(second)))
    del x[op["dim"]]
    return tuple(x)


@rule("pairwise_distance")
def pairwise_distance(op: Operation) -> Axes:
    """The distance along the last axis."""
    x = op.align(op.axes("x1"), op.axes("x2"))
    return (*x[:-1], ONE) if op["keepdim"] else x[:-1]


@rule("cdist", "_cdist_forward")
def cdist(op: Operation) -> Axes:
    """All pairs of rows: (…, P, M) and (…, R, M) to (…, P, R)."""
    a, b = op.axes("x1"), op.axes("x2")
    op.unify(a[-1], b[-1])
    return (*op.align(a[:-2], b[:-2]), a[-2], b[-2])
