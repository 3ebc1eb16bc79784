"""Which range of values a number format should cover: min-max, percentile, MSE or entropy.

Clipping the few largest values makes the steps between all others smaller. The estimators differ
in how they weigh the two errors (survey 2103.13630, section III.B).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from supple.errors import CompressError

__all__ = ["Estimator", "check_estimator", "estimated_range"]

Estimator = Literal["minmax", "percentile", "mse", "entropy"]
"""How a range is estimated from values."""

CLIPS = 96
"""Clips that the MSE and entropy estimators try, from about a hundredth of the range to all."""

BINS = 1024
"""Bins of the histogram that the entropy estimator looks at."""


def check_estimator(name: str) -> None:
    """Raises CompressError for an estimator that does not exist."""
    if name not in get_args(Estimator):
        raise CompressError(
            f"there is no range estimator {name!r}.",
            hint=", ".join(f'"{known}"' for known in get_args(Estimator)) + ".",
        )


def estimated_range(
    rows: Tensor, estimator: Estimator, *, bits: int, symmetric: bool, percentile: float
) -> tuple[Tensor, Tensor]:
    """The lower and upper end of each row's range, of shape (rows, 1); zero is always inside.

    Args:
        rows: Values, one range per row.
        estimator: ``minmax``: all of them. ``percentile``: all but a share of the smallest and
            largest. ``mse``: the clip with the least squared error at ``bits``. ``entropy``: the
            clip whose quantized histogram is nearest to the whole one (Kullback-Leibler).
        bits: Of the format the range is for.
        symmetric: Whether both ends are equally far from zero.
        percentile: Percent of the values inside, for ``percentile``.
    """
    low = rows.amin(1, keepdim=True).clamp(max=0)
    high = rows.amax(1, keepdim=True).clamp(min=0)
    if estimator == "percentile":
        low, high = _percentiles(rows, percentile)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    if estimator == "mse":
        return _least_squares(rows, low, high, bits, symmetric)
    if estimator == "entropy":
        clip = torch.stack([_entropy_clip(row, bits) for row in rows]).reshape(-1, 1)
        return torch.maximum(low, -clip), torch.minimum(high, clip)
    return low, high


def _percentiles(rows: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Linear between order statistics, as numpy.percentile; torch.quantile refuses long rows."""
    ordered = rows.sort(1).values
    place = (ordered.shape[1] - 1) * (100 - percentile) / 100 / 2
    first, part = int(place), place - int(place)
    after = min(first + 1, ordered.shape[1] - 1)
    low = torch.lerp(ordered[:, first], ordered[:, after], part)
    high = torch.lerp(ordered[:, -1 - first], ordered[:, -1 - after], part)
    return low.clamp(max=0)[:, None], high.clamp(min=0)[:, None]


def _least_squares(
    rows: Tensor, low: Tensor, high: Tensor, bits: int, symmetric: bool
) -> tuple[Tensor, Tensor]:
    from supple.compress.quantize._grid import grid_of

    best_low, best_high = low, high
    least = torch.full_like(low, float("inf"))
    for clip in range(CLIPS, 0, -1):
        share = clip / CLIPS
        grid = grid_of(low * share, high * share, bits=bits, symmetric=symmetric)
        error = (grid.nearest(rows) - rows).square().mean(1, keepdim=True)
        better = error < least
        least = torch.where(better, error, least)
        best_low = torch.where(better, low * share, best_low)
        best_high = torch.where(better, high * share, best_high)
    return best_low, best_high


def _entropy_clip(values: Tensor, bits: int) -> Tensor:
    """The magnitude to clip at, by TensorRT's rule.

    The histogram is cut, what is beyond is added to the last bin kept, and the bins are merged
    into as many levels as the format has above zero.
    """
    size = values.abs()
    top = size.max()
    levels = 2 ** (bits - 1)
    if not float(top) or levels >= BINS:
        return top
    counts = torch.histc(size.double(), bins=BINS, min=0, max=float(top))
    clips = sorted({int(clip) for clip in torch.linspace(levels, BINS, CLIPS).tolist()})
    divergences = [_divergence(counts, clip, levels) for clip in clips]
    kept: int = clips[min(range(len(clips)), key=divergences.__getitem__)]
    return top * (kept / BINS)


def _divergence(counts: Tensor, clip: int, levels: int) -> float:
    kept = counts[:clip].clone()
    merged = torch.arange(clip) * levels // clip
    filled = (kept > 0).double()
    total = torch.zeros(levels, dtype=torch.float64).index_add_(0, merged, kept)
    places = torch.zeros(levels, dtype=torch.float64).index_add_(0, merged, filled)
    spread = (total / places.clamp(min=1))[merged] * filled
    kept[-1] += counts[clip:].sum()
    p, q = kept / kept.sum(), spread / spread.sum().clamp(min=1e-300)
    # A bin of p that q leaves empty (only the last can be) has no finite divergence: a small one.
    inside = p > 0
    return float((p[inside] * (p[inside] / q[inside].clamp(min=1e-12)).log()).sum())
