"""Convolutions, pooling and resampling: channels are groups times rest, space stays."""

from __future__ import annotations

from supple.trace._axis import product
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


_SHARED = "is space that neighbours share"


def _space(op: Operation, x: Axes, rank: int) -> Axes:
    """The output's spatial axes; the input's may not be cut."""
    op.fix(x[len(x) - rank :], _SHARED)
    return tuple(op.fixed(n, "is space") for n in op.out_shape[len(op.out_shape) - rank :])


def _convolve(op: Operation, *, transposed: bool) -> Axes:
    x, weight, bias = op.axes("input"), op.axes("weight"), op.maybe_axes("bias")
    rank = len(weight) - 2
    channel = len(x) - rank - 1
    groups: int = op["groups"]
    op.fix(weight[2:], "is the window of a convolution")
    if groups == 1:
        op.unify(x[channel], weight[0] if transposed else weight[1])
        out = weight[1] if transposed else weight[0]
    else:
        group, per_group = op.factor(x[channel], groups)
        weight_group, rest = op.factor(weight[0], groups)
        op.unify(group, weight_group)
        op.unify(per_group, rest if transposed else weight[1])
        out = product((group, weight[1])) if transposed else weight[0]
        op.resize("groups", group)
        if per_group.size > 1 or rest.size > 1:
            op.role(group, "groups")
    if bias is not None:
        op.unify(bias[0], out)
    return (*x[:channel], out, *_space(op, x, rank))


@rule("conv1d", "conv2d", "conv3d")
def conv(op: Operation) -> Axes:
    """Weight (out, in / groups, *window)."""
    return _convolve(op, transposed=False)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def conv_transpose(op: Operation) -> Axes:
    """Weight (in, out / groups, *window)."""
    return _convolve(op, transposed=True)


@rule("convolution", "_convolution", "convolution_overrideable")
def convolution(op: Operation) -> Axes:
    """The general form of all of them."""
    return _convolve(op, transposed=bool(op["transposed"]))


def _pool(op: Operation, rank: int) -> Axes:
    x = op.axes("self") if "self" in op.arguments else op.axes("input")
    lead = len(x) - rank
    alone = _untouched(op, rank)
    op.fix((a for a, passes in zip(x[lead:], alone, strict=True) if not passes), _SHARED)
    space = (
        axis if passes else op.fixed(n, "is space")
        for axis, n, passes in zip(x[lead:], op.out_shape[lead:], alone, strict=True)
    )
    return (*x[:lead], *space)


def _untouched(op: Operation, rank: int) -> list[bool]:
    """For each spatial axis whether the operator leaves every index of it alone."""
    window = op.get("kernel_size")
    if window is None:
        return [False] * rank

    def each(value: object, default: list[int]) -> list[int]:
        found = [value] if isinstance(value, int) else list(value or default)  # type: ignore[call-overload]
        return found * rank if len(found) == 1 else found

    kernel = each(window, [1])
    steps, padding = each(op.get("stride"), kernel), each(op.get("padding"), [0])
    return [(k, s, p) == (1, 1, 0) for k, s, p in zip(kernel, steps, padding, strict=True)]


@rule(
    "adaptive_avg_pool1d",
    "avg_pool1d",
    "lp_pool1d",
    "max_pool1d",
    "reflection_pad1d",
    "replication_pad1d",
    "_upsample_nearest_exact1d",
    "upsample_linear1d",
    "upsample_nearest1d",
)
def pool1d(op: Operation) -> Axes:
    """Works on the last axis."""
    return _pool(op, 1)


@rule(
    "_adaptive_avg_pool2d",
    "adaptive_avg_pool2d",
    "lp_pool2d",
    "avg_pool2d",
    "max_pool2d",
    "mkldnn_max_pool2d",
    "reflection_pad2d",
    "replication_pad2d",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "_upsample_bicubic2d_aa",
    "_upsample_bilinear2d_aa",
    "upsample_nearest2d",
    "_upsample_nearest_exact2d",
)
def pool2d(op: Operation) -> Axes:
    """Works on the last two axes."""
    return _pool(op, 2)


@rule(
    "_adaptive_avg_pool3d",
    "adaptive_avg_pool3d",
    "avg_pool3d",
    "lp_pool3d",
    "_upsample_nearest_exact3d",
    "max_pool3d",
    "reflection_pad3d",
    "replication_pad3d",
    "upsample_nearest3d",
    "upsample_trilinear3d",
)
def pool3d(op: Operation) -> Axes:
    """Works on the last three axes."""
    return _pool(op, 3)


@rule("adaptive_max_pool1d", "max_pool1d_with_indices")
def pool1d_pair(op: Operation) -> list[Axes]:
    """Values and positions."""
    return [_pool(op, 1)] * 2


@rule("adaptive_max_pool2d", "max_pool2d_with_indices")
def pool2d_pair(op: Operation) -> list[Axes]:
    """Values and positions."""
    return [_pool(op, 2)] * 2


@rule("adaptive_max_pool3d", "max_pool3d_with_indices")
def pool3d_pair(op: Operation) -> list[Axes]:
    """Values and positions."""
    return [_pool(op, 3)] * 2


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(op: Operation) -> Axes:
    """Samples (N, C, *space) at points (N, *out, rank)."""
    x, grid = op.axes("input"), op.axes("grid")
    op.unify(x[0], grid[0])
    op.fix((*x[2:], *grid[1:]), "is space that is sampled")
    return (*x[:2], *grid[1:-1])


@rule("pixel_shuffle")
def pixel_shuffle(op: Operation) -> Axes:
    """Channels are (c, r, r); the two r go to space."""
    x = op.axes("self")
    r: int = op["upscale_factor"]
    channel, window = op.factor(x[-3], x[-3].size // (r * r))
    op.fix(window, "becomes space")
    return (*x[:-3], channel, *_space(op, x, 2))


@rule("pixel_unshuffle")
def pixel_unshuffle(op: Operation) -> Axes:
    """Space is folded into channels (c, r, r)."""
    x = op.axes("self")
    r: int = op["downscale_factor"]
    channel = product((x[-3], op.fixed(r * r, "was space")))
    return (*x[:-3], channel, *_space(op, x, 2))


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(op: Operation) -> Axes:
    """Channels (groups, rest) become (rest, groups)."""
    x = op.axes("self")
    group, rest = op.factor(x[1], op["groups"])
    op.resize("groups", group)
    return (x[0], product((rest, group)), *x[2:])


@rule("im2col")
def im2col(op: Operation) -> Axes:
    """(N, C, H, W) to (N, C times window, positions)."""
    x = op.axes("self")
    op.fix(x[-2:], "is space that windows share")
    window = op["kernel_size"][0] * op["kernel_size"][1]
    channel = product((x[-3], op.fixed(window, "is a window")))
    return (*x[:-3], channel, op.fixed(op.out_shape[-1], "counts windows"))


@rule("col2im")
def col2im(op: Operation) -> Axes:
    """(N, C times window, positions) to (N, C, H, W)."""
    x = op.axes("self")
    window = op["kernel_size"][0] * op["kernel_size"][1]
    channel, inner = op.factor(x[-2], x[-2].size // window)
    op.fix((inner, x[-1]), "is space that windows share")
    return (*x[:-2], channel, *(op.fixed(n, "is space") for n in op.out_shape[-2:]))


@rule("conv_tbc")
def conv_tbc(op: Operation) -> Axes:
    """Time, batch, channels; weight (window, in, out)."""
    x, weight, bias = op.axes("self"), op.axes("weight"), op.axes("bias")
    op.unify_all([(x[2], weight[1]), (bias[0], weight[2])])
    op.fix((x[0], weight[0]), _SHARED)
    return (op.fixed(op.out_shape[0], "is time"), x[1], weight[2])


@rule("max_unpool2d", "max_unpool3d")
def max_unpool(op: Operation) -> Axes:
    """Values go back to the places they came from."""
    x, rank = op.axes("self"), 2 if op.name == "max_unpool2d" else 3
    op.align(x, op.axes("indices"))
    return (*x[: len(x) - rank], *_space(op, x, rank))


@rule("unfold")
def unfold(op: Operation) -> Axes:
    """Sliding windows along one axis, the window as a new last axis."""
    x = list(op.axes("self"))
    dim = op["dimension"] % len(x)
    op.fix(x[dim], "is cut into windows")
    x[dim] = op.fixed(op.out_shape[dim], "counts windows")
    return (*x, op.fixed(op["size"], "is a window"))
