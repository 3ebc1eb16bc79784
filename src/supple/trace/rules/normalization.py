"""Normalisations: their parameters share the axes they scale."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule("batch_norm", "native_batch_norm", "cudnn_batch_norm", "instance_norm")
def batch_norm(op: Operation) -> Axes:
    """Statistics and scale for each channel (dimension 1)."""
    x = op.axes("input")
    for name in ("weight", "bias", "running_mean", "running_var"):
        axes = op.maybe_axes(name)
        if axes is not None:
            op.unify(axes[0], x[1])
    return x


@rule("layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(op: Operation) -> Axes:
    """Normalised over the last axes, which the scale shares."""
    x = op.axes("input")
    last = x[len(x) - len(op["normalized_shape"]) :]
    for name in ("weight", "bias"):
        axes = op.maybe_axes(name)
        if axes is not None:
            op.unify_all(zip(axes, last, strict=True))
    op.resize("normalized_shape", last)
    return x


@rule("_weight_norm")
def weight_norm(op: Operation) -> Axes:
    """``v * g / |v|``, with one g for each index of one dimension."""
    v, g = op.axes("v"), op.axes("g")
    op.unify_all((a, b) for a, b in zip(v, g, strict=True) if b.size > 1)
    return v


@rule("group_norm")
def group_norm(op: Operation) -> Axes:
    """Channels are groups times rest; each group is normalised alone."""
    x = op.axes("input")
    group, _ = op.factor(x[1], op["num_groups"])
    for name in ("weight", "bias"):
        axes = op.maybe_axes(name)
        if axes is not None:
            op.unify(axes[0], x[1])
    op.resize("num_groups", group)
    op.role(group, "groups")
    return x


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax")
def softmax(op: Operation) -> Axes:
    """The axis that is normalised to one may not be cut."""
    x = op.axes("self")
    if x:
        op.fix(x[op["dim"]], "is normalised by softmax")
    return x
