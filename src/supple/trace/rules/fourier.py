"""Fourier transforms: every frequency depends on every index, so the axis stays whole."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []

_NAMES = ("fft", "fft2", "fftn", "hfft", "hfft2", "hfftn", "rfft", "rfft2", "rfftn")


@rule(
    *(f"fft_{name}" for name in _NAMES),
    *(f"fft_i{name}" for name in _NAMES),
    "_fft_c2c",
    "_fft_c2r",
    "_fft_r2c",
    "fft_fftshift",
    "fft_ifftshift",
)
def fft(op: Operation) -> Axes:
    """The transformed axes are fixed; the others pass."""
    x = list(op.axes("self"))
    dims = op["dim"]
    if dims is None:
        count = len(op.get("s") or x)
        dims = range(len(x) - count, len(x))
    for d in [dims] if isinstance(dims, int) else dims:
        op.fix(x[d], "is transformed to frequencies")
        x[d] = op.fixed(op.out_shape[d], "are frequencies")
    return tuple(x)
