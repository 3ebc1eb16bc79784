"""Timing functions against each other, in rounds.

A machine's speed drifts by more than the differences of interest: other programs, clock rates,
temperature. So every round times all functions in a new random order, close together in time;
ratios are formed inside a round, where the drift cancels, and the median over rounds leaves out
the rounds that something disturbed.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from supple.measure._collection import no_collection
from supple.measure._intervals import LEAST_FOR_MEDIAN, median_interval

__all__ = ["Figure", "Plan", "Samples", "figure", "paired_ratio", "time_rounds"]

Run = Callable[[], object]
Clock = Callable[[], float]

CHECK_EVERY = 10
"""Rounds between looks at the interval; looking at every round would favour lucky ones."""

LONGEST_BLOCK = 1000
"""Calls in one block at most, for functions faster than the clock's tick."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to time.

    Attributes:
        warmup: Untimed calls of each function before the first round.
        rounds: Rounds that are always timed, time permitting.
        max_seconds: No new round is begun after this; six are timed in any case.
        block_seconds: A block of calls takes about this long, so that a tick of the clock and
            the call of the clock are negligible.
        noise_limit: Half the interval's width, relative to the figure, that is accepted; while it
            is wider, more rounds follow.
    """

    warmup: int
    rounds: int
    max_seconds: float
    block_seconds: float
    noise_limit: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A median over rounds with its 95 % interval."""

    value: float
    low: float
    high: float

    def is_noisy(self, limit: float) -> bool:
        """Whether half the interval is more than ``limit`` of the figure."""
        return self.high - self.low > 2 * limit * self.value


Samples = tuple[tuple[float, ...], ...]
"""Seconds per call: one tuple per round, one entry per function."""


def figure(values: Sequence[float]) -> Figure:
    """The median of ``values`` and its interval."""
    value, low, high = median_interval(values)
    return Figure(value=value, low=low, high=high)


def paired_ratio(samples: Samples) -> Figure:
    """The first function's time over the second's, by the median of the rounds' ratios."""
    return figure([first / second for first, second in samples])


def time_rounds(
    runs: Sequence[Run],
    plan: Plan,
    judge: Callable[[Samples], Figure],
    *,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Samples:
    """Times ``runs`` in rounds until ``judge``'s interval is narrow or time is up."""
    order, generator = list(range(len(runs))), random.Random(seed)
    begin = clock()
    calls = [_calls_per_block(run, plan, clock) for run in runs]
    samples: list[tuple[float, ...]] = []
    with no_collection():
        while not _is_enough(samples, plan, judge, clock() - begin):
            generator.shuffle(order)
            times = {index: _block(runs[index], calls[index], clock) for index in order}
            samples.append(tuple(times[index] for index in range(len(runs))))
    return tuple(samples)


def _is_enough(
    samples: list[tuple[float, ...]],
    plan: Plan,
    judge: Callable[[Samples], Figure],
    elapsed: float,
) -> bool:
    if len(samples) < LEAST_FOR_MEDIAN:
        return False
    if elapsed >= plan.max_seconds:
        return True
    if len(samples) < plan.rounds or (len(samples) - plan.rounds) % CHECK_EVERY:
        return False
    return not judge(tuple(samples)).is_noisy(plan.noise_limit)


def _calls_per_block(run: Run, plan: Plan, clock: Clock) -> int:
    """Warms up and returns how many calls fill a block; the fastest call is the least disturbed."""
    fastest = min(_block(run, 1, clock) for _ in range(max(plan.warmup, 1)))
    if fastest <= 0:
        return LONGEST_BLOCK
    return min(max(math.ceil(plan.block_seconds / fastest), 1), LONGEST_BLOCK)


def _block(run: Run, calls: int, clock: Clock) -> float:
    """Mean seconds per call."""
    if calls > 1:
        # The other function has just filled the caches; a short one would pay for that.
        run()
    begin = clock()
    for _ in range(calls):
        run()
    return (clock() - begin) / calls
