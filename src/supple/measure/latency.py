"""How long a network takes here, and how long compared with another one.

The time of a network alone moves with the machine's mood, so what a search and a report use is
the ratio to the baseline, timed alternately with it: see `Latency.compare`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from supple.elastic._call import Network
from supple.errors import MeasureError
from supple.measure._runner import Runner, check_backend, prepare
from supple.measure._timing import Figure, Plan, Samples, figure, paired_ratio, time_rounds
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["Latency", "LatencyRatio", "Runner"]


@dataclass(frozen=True, kw_only=True)
class LatencyRatio:
    """A network's latency over its baseline's, timed alternately.

    Attributes:
        ratio: Median over rounds of the ratio within the round; below 1 the network is faster.
            Not exactly ``network_ms / baseline_ms``, whose medians may be of different rounds.
        low: Lower end of the ratio's 95 % interval.
        high: Upper end.
        network_ms: Median milliseconds per call of the network.
        baseline_ms: The same of the baseline.
        network_ms_interval: 95 % interval of ``network_ms``.
        baseline_ms_interval: 95 % interval of ``baseline_ms``.
        noisy: Whether half the ratio's interval is wider than the measure's ``noise_limit``.
        threads: Threads one call may use.
        batch: Samples in one call.
        backend: What ran the networks.
        rounds: Rounds timed.
    """

    ratio: float
    low: float
    high: float
    network_ms: float
    baseline_ms: float
    network_ms_interval: tuple[float, float]
    baseline_ms_interval: tuple[float, float]
    noisy: bool
    threads: int
    batch: int
    backend: str
    rounds: int

    def to_dict(self) -> dict[str, Any]:
        """All attributes as JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        noisy = ", too noisy to rely on" if self.noisy else ""
        return (
            f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}] of the baseline: "
            f"{self.network_ms:.3g} ms against {self.baseline_ms:.3g} ms ({self.backend}, "
            f"batch {self.batch}, threads {self.threads}{noisy})"
        )


@dataclass(frozen=True, kw_only=True)
class Latency(Measure):
    """Milliseconds of one call on the example's batch, on this machine.

    Inputs are random and like the example's. The figure is the median over rounds, its 95 %
    interval by order statistics; `compare` pairs two networks round by round.

    Attributes:
        example: A tensor, a tuple of arguments or a dict of keyword arguments.
        backend: ``"torch"`` (eager, as it is) or ``"onnxruntime"`` (as an ONNX graph, CPU).
        threads: Threads one call may use; torch's own setting is restored.
        warmup: Untimed calls before the first round.
        rounds: Rounds always timed, unless ``max_seconds`` ends them.
        max_seconds: Rounds are added up to this while the interval is too wide. Six rounds are
            timed in any case.
        block_ms: A round repeats the call for about this long and takes the mean.
        noise_limit: Half the interval's width, as a fraction of the figure, above which the
            figure is called noisy.
        seed: Of the inputs and of the order within the rounds.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: Less is better.

    Example:
        >>> import torch
        >>> small, large = torch.nn.Linear(8, 8), torch.nn.Linear(512, 512)
        >>> latency = Latency(example=torch.ones(1, 8), max_seconds=0.5)
        >>> latency.measure(small).unit
        'ms'
    """

    example: Any = field(repr=False, compare=False)
    backend: str = "torch"
    threads: int = 1
    warmup: int = 3
    rounds: int = 30
    max_seconds: float = 5.0
    block_ms: float = 5.0
    noise_limit: float = 0.1
    seed: int = 0
    name: str = "latency"
    unit: str = "ms"
    direction: Direction = "min"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_backend(self.backend)
        least = {"threads": 1, "warmup": 1, "rounds": 1}
        for setting, bound in least.items():
            if getattr(self, setting) < bound:
                raise MeasureError(
                    f"Latency was given {setting}={getattr(self, setting)!r}.",
                    hint=f"{setting}={bound} or more",
                )
        for setting in ("max_seconds", "block_ms", "noise_limit"):
            if not getattr(self, setting) > 0:
                raise MeasureError(
                    f"Latency was given {setting}={getattr(self, setting)!r}.",
                    hint=f"a positive {setting}",
                )

    def runner(self, network: Network) -> Runner:
        """Makes ``network`` ready to be timed, for use in several comparisons.

        With ONNX Runtime the graph is recorded here, once. With torch the runner holds the
        network itself and times it as it then is.
        """
        return prepare(self.backend, network, self.example, self.threads, self.seed)

    def measure(self, network: Network | Runner) -> Measurement:
        """The milliseconds of ``network`` alone."""
        runner = self._ready(network)
        samples = self._time([runner], lambda rounds: figure([one for (one,) in rounds]))
        found = figure([one * 1000 for (one,) in samples])
        return Measurement(
            value=found.value,
            low=found.low,
            high=found.high,
            unit=self.unit,
            count=len(samples),
            noisy=found.is_noisy(self.noise_limit),
            details={
                "backend": runner.backend,
                "threads": runner.threads,
                "batch": runner.batch,
                **runner.details,
            },
        )

    def compare(self, network: Network | Runner, baseline: Network | Runner) -> LatencyRatio:
        """Times both alternately; either may be a runner made before."""
        return self.compare_runners(self._ready(network), self._ready(baseline))

    def compare_runners(self, network: Runner, baseline: Runner) -> LatencyRatio:
        """Times two runners alternately, in random order within each round."""
        same = ("backend", "threads", "batch")
        odd = [name for name in same if getattr(network, name) != getattr(baseline, name)]
        if odd:
            raise MeasureError(
                f"Two runners were compared that differ in {odd[0]}, "
                f"{getattr(network, odd[0])!r} and {getattr(baseline, odd[0])!r}.",
                why="Their ratio would say nothing about the networks.",
                hint="make both with the same Latency object",
            )
        samples = self._time([network, baseline], paired_ratio)
        return self._ratio(samples, network)

    def _ready(self, network: Network | Runner) -> Runner:
        return network if isinstance(network, Runner) else self.runner(network)

    def _time(self, runners: list[Runner], judge: Any) -> Samples:
        plan = Plan(
            warmup=self.warmup,
            rounds=self.rounds,
            max_seconds=self.max_seconds,
            block_seconds=self.block_ms / 1000,
            noise_limit=self.noise_limit,
        )
        with ExitStack() as stack:
            for runner in runners:
                stack.enter_context(runner.during())
            return time_rounds([runner.run for runner in runners], plan, judge, seed=self.seed)

    def _ratio(self, samples: Samples, runner: Runner) -> LatencyRatio:
        ratio = paired_ratio(samples)
        ours, theirs = (figure([row[i] * 1000 for row in samples]) for i in (0, 1))
        return LatencyRatio(
            ratio=ratio.value,
            low=ratio.low,
            high=ratio.high,
            network_ms=ours.value,
            baseline_ms=theirs.value,
            network_ms_interval=_ends(ours),
            baseline_ms_interval=_ends(theirs),
            noisy=ratio.is_noisy(self.noise_limit),
            threads=runner.threads,
            batch=runner.batch,
            backend=runner.backend,
            rounds=len(samples),
        )


def _ends(of: Figure) -> tuple[float, float]:
    return of.low, of.high
