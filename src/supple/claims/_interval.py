"""Intervals of a mean over seeds: Student's t for few seeds, the bootstrap for many.

Student 1908, "The probable error of a mean"; Efron 1987, "Better bootstrap confidence intervals"
(BCa).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from supple.errors import ClaimError
from supple.seeds import generator

__all__ = ["bootstrap_interval", "t_interval"]


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's interval of it, for values from a normal law.

    Raises:
        ClaimError: For fewer than two values, or one that is not finite.

    Example:
        >>> [round(x, 3) for x in t_interval([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    array = _checked(values)
    from scipy.special import stdtrit  # a tenth of the import time of scipy.stats

    mean = float(array.mean())
    half = stdtrit(len(array) - 1, (1 + level) / 2) * array.std(ddof=1) / math.sqrt(len(array))
    return mean, mean - float(half), mean + float(half)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, *, resamples: int = 9999, seed: int = 0
) -> tuple[float, float, float]:
    """Mean and its BCa bootstrap interval, for values of any law; from about ten values on.

    Raises:
        ClaimError: For fewer than two values, or one that is not finite.

    Example:
        >>> mean, low, high = bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> low < mean < high
        True
    """
    array = _checked(values)
    mean = float(array.mean())
    if np.ptp(array) == 0:
        return mean, mean, mean  # every resample is the sample
    from scipy.stats import bootstrap

    found = bootstrap(
        (array,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa",
        rng=generator(seed, "bootstrap"),
    ).confidence_interval  # fmt: skip
    return mean, float(found.low), float(found.high)


def _checked(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.all(np.isfinite(array)):
        raise ClaimError(
            f"an interval of {list(values)!r} was asked for.",
            why="It needs two or more finite numbers: the spread between seeds makes it.",
            hint="more seeds, such as --seeds 3.",
        )
    return array
