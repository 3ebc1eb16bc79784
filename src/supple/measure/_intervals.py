"""95 % intervals: Wilson for a fraction, normal for a mean, order statistics for a median.

Wilson (1927), "Probable inference, the law of succession, and statistical inference"; the
median's interval is distribution-free: its ends are the sample's own values at ranks that the
binomial law gives (David and Nagaraja, "Order Statistics", 2003, section 7.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import median

__all__ = ["LEAST_FOR_MEDIAN", "mean_interval", "median_interval", "wilson_interval"]

Z95 = 1.959963984540054
"""The 97.5 % point of the normal law."""

LEAST_FOR_MEDIAN = 6
"""The fewest values whose extremes hold the median with 95 %: 1 - 2 / 2**6 = 0.969."""


def wilson_interval(successes: float, count: int) -> tuple[float, float]:
    """The interval of a fraction of ``count`` independent samples."""
    share, z2 = successes / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At 0 and 1 rounding can push an end past the share itself.
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def mean_interval(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float, float]:
    """Weighted mean and its normal interval; no width where there is a single value."""
    total = math.fsum(weights)
    mean = math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total
    if len(values) < 2:
        return mean, mean, mean
    spread = math.fsum(w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True)) / total
    # Kish's effective size: equal weights give the number of values.
    effective = total**2 / math.fsum(w * w for w in weights)
    half = Z95 * math.sqrt(spread / max(effective - 1, 1.0))
    return mean, mean - half, mean + half


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and its distribution-free interval; the whole range where values are too few."""
    ordered = sorted(values)
    rank = _rank(len(ordered))
    return median(ordered), ordered[rank], ordered[-1 - rank]


@cache
def _rank(count: int) -> int:
    """The largest rank k, from 0, with P(fewer than k + 1 of the values below the median) <= 2.5 %.

    Large counts use the normal law, whose rank differs by at most one there.
    """
    if count > 1000:
        return max(0, math.floor((count - 1) / 2 - Z95 * math.sqrt(count) / 2))
    below, rank = 0.0, -1
    while rank + 1 <= (count - 1) // 2:
        below += math.comb(count, rank + 1) / 2**count
        if below > 0.025:
            break
        rank += 1
    return max(rank, 0)
