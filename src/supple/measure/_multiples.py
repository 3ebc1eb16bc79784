"""Which multiples the widths of layers should have on this machine.

For each multiple m a layer whose width is an odd multiple of m is timed against its neighbours,
m/2 narrower and m/2 wider. Above 1 the neighbours pay for not being a multiple of m. All widths
are timed alternately, and ratios formed within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from supple.measure._threads import torch_threads
from supple.measure._timing import Clock, Figure, Plan, Samples, figure, time_rounds

__all__ = ["MultipleRatio", "measure_multiples", "recommended_multiple"]

WIDTHS: Mapping[int, int] = {2: 102, 4: 100, 8: 104, 16: 112}
"""For each multiple the width that is timed: an odd multiple of it."""

_WORTH = 1.01
"""A ratio whose whole interval lies above this is worth following."""

_WIDEST = 0.1
"""Half an interval, relative to the ratio, from which on nothing is concluded."""

_PIXELS, _TOKENS = 12, 128


@dataclass(frozen=True, kw_only=True)
class MultipleRatio:
    """How much more a layer costs for its size beside a multiple than on it.

    Attributes:
        layer: ``"conv"`` or ``"linear"``.
        multiple: The multiple.
        ratio: Time of the neighbours over that of the multiple, for the same work.
        low: Lower end of the ratio's 95 % interval.
        high: Upper end.
    """

    layer: str
    multiple: int
    ratio: float
    low: float
    high: float

    @property
    def pays(self) -> bool:
        """The difference is outside the noise, and the noise is small enough to tell."""
        is_clear = self.high - self.low <= 2 * _WIDEST * self.ratio
        return is_clear and self.low > _WORTH


def recommended_multiple(ratios: Sequence[MultipleRatio]) -> int | None:
    """The largest multiple that pays for some kind of layer; None where none does."""
    return max((one.multiple for one in ratios if one.pays), default=None)


def measure_multiples(
    *,
    rounds: int = 25,
    max_seconds: float = 6.0,
    threads: int = 1,
    clock: Clock = time.perf_counter,
) -> list[MultipleRatio]:
    """Times convolutions and linear layers at and beside multiples of 2, 4, 8 and 16.

    Args:
        rounds: Rounds in which every width is timed once.
        max_seconds: For each kind of layer.
        threads: Threads one call may use.
        clock: What tells the time, in seconds.
    """
    with torch_threads(threads):
        return [
            ratio
            for layer, make in (("conv", _convolution), ("linear", _linear))
            for ratio in _of_kind(layer, make, rounds, max_seconds, clock)
        ]


def _of_kind(
    layer: str,
    make: Callable[[int], Callable[[], object]],
    rounds: int,
    max_seconds: float,
    clock: Clock,
) -> list[MultipleRatio]:
    widths = sorted({w for m, at in WIDTHS.items() for w in (at - m // 2, at, at + m // 2)})
    place = {width: i for i, width in enumerate(widths)}

    def judge(samples: Samples) -> Figure:
        return figure([round_[0] / round_[-1] for round_ in samples])

    plan = Plan(
        warmup=3, rounds=rounds, max_seconds=max_seconds, block_seconds=0.004, noise_limit=1e9
    )
    samples = time_rounds([make(width) for width in widths], plan, judge, clock=clock)
    found = []
    for multiple, at in WIDTHS.items():
        value = figure([_beside(times, place, at, multiple // 2) for times in samples])
        found.append(
            MultipleRatio(
                layer=layer, multiple=multiple, ratio=value.value, low=value.low, high=value.high
            )
        )
    return found


def _beside(times: Sequence[float], place: Mapping[int, int], at: int, apart: int) -> float:
    """The neighbours' mean time over that at a width, less what their mean size explains.

    The work grows with the square of the width, so the neighbours' mean is larger by that much;
    what a call costs besides makes the ratio smaller, never larger.
    """
    mean = (times[place[at - apart]] + times[place[at + apart]]) / 2
    return mean / times[place[at]] / (1 + (apart / at) ** 2)


def _convolution(width: int) -> Callable[[], object]:
    import torch

    draws = torch.Generator().manual_seed(width)
    x = torch.rand(1, width, _PIXELS, _PIXELS, generator=draws)
    weight = torch.rand(width, width, 3, 3, generator=draws)

    def run() -> object:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(x, weight, padding=1)

    return run


def _linear(width: int) -> Callable[[], object]:
    import torch

    draws = torch.Generator().manual_seed(width)
    x = torch.rand(_TOKENS, width, generator=draws)
    weight = torch.rand(width, width, generator=draws)

    def run() -> object:
        with torch.inference_mode():
            return torch.nn.functional.linear(x, weight)

    return run
