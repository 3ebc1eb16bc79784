"""Normalisations: their parameters share the axes they scale."""

from __future__ import annotations

from supple.trace._axis import ONE, Axis, product
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


def _per_channel(op: Operation, x: Axes) -> Axes:
    for name in ("weight", "bias", "running_mean", "running_var"):
        axes = op.maybe_axes(name)
        if axes is not None:
            op.unify(axes[0], x[1])
    return x


@rule("batch_norm", "instance_norm")
def batch_norm(op: Operation) -> Axes:
    """Statistics and scale for each channel (dimension 1)."""
    return _per_channel(op, op.axes("input"))


@rule(
    "native_batch_norm",
    "cudnn_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
)
def native_batch_norm(op: Operation) -> list[Axes]:
    """The same with the mean and deviation of each channel, which may come back empty."""
    x = _per_channel(op, op.axes("input"))
    found: list[Axes] = [x]
    for shape in op.out_shapes[1:]:
        found.append((x[1],) if shape == (x[1].size,) else tuple(map(op.fixed, shape)))
    return found


def _over_the_last(op: Operation) -> Axes:
    x = op.axes("input")
    last = x[len(x) - len(op["normalized_shape"]) :]
    for name in ("weight", "bias"):
        axes = op.maybe_axes(name)
        if axes is not None:
            op.unify_all(zip(axes, last, strict=True))
    op.resize("normalized_shape", last)
    return x


@rule("layer_norm", "rms_norm")
def layer_norm(op: Operation) -> Axes:
    """Normalised over the last axes, which the scale shares."""
    return _over_the_last(op)


@rule("native_layer_norm", "_fused_rms_norm")
def native_layer_norm(op: Operation) -> list[Axes]:
    """The same with the statistics that the gradient needs."""
    x = _over_the_last(op)
    lead = x[: len(x) - len(op["normalized_shape"])]
    statistics = (*lead, *(ONE for _ in op["normalized_shape"]))
    return [x, *(statistics for _ in op.node.meta["val"][1:])]


@rule("_weight_norm")
def weight_norm(op: Operation) -> Axes:
    """``v * g / |v|``, with one g for each index of one dimension."""
    v, g = op.axes("v"), op.axes("g")
    op.unify_all((a, b) for a, b in zip(v, g, strict=True) if b.size > 1)
    return v


@rule("norm_except_dim")
def norm_except_dim(op: Operation) -> Axes:
    """One norm for each index of one dimension."""
    v, dim = op.axes("v"), op["dim"]
    return tuple(axis if i == dim else ONE for i, axis in enumerate(v)) if dim >= 0 else ()


def _groups(op: Operation, count: str) -> tuple[Axes, Axis]:
    x = op.axes("input")
    group, _ = op.factor(x[1], op[count])
    _per_channel(op, x)
    op.resize(count, group)
    op.role(group, "groups")
    return x, group


@rule("group_norm")
def group_norm(op: Operation) -> Axes:
    """Channels are groups times rest; each group is normalised alone."""
    return _groups(op, "num_groups")[0]


@rule("native_group_norm")
def native_group_norm(op: Operation) -> list[Axes]:
    """The same with sizes that follow the input, and the statistics of each group."""
    x, group = _groups(op, "group")
    op.resize("N", x[0])
    op.resize("C", x[1])
    op.resize("HxW", product(x[2:]))
    return [x, (x[0], group), (x[0], group)]


@rule(
    "softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax", "special_softmax",
    "special_log_softmax",
)  # fmt: skip
def softmax(op: Operation) -> Axes:
    """The axis that is normalised to one may not be cut."""
    x = op.axes("self")
    if x:
        op.score(x[op["dim"]], "is normalised by softmax")
    return x
