"""Strategies on one table, seed by seed: how good after how many distinct measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler

from supple.errors import SearchError
from supple.search._registry import strategy
from supple.search.tables._load import load_table
from supple.search.tables._table import RecordedTable
from supple.seeds import generator
from supple.study import Study, hypervolume_curve
from supple.study.direction import Directions

__all__ = ["Comparison", "Outcome", "Runner", "compare", "run_strategy"]

Runner = Callable[[RecordedTable, int, int], Sequence[Mapping[str, float]]]

# Resamples of the seeds for the interval of a median.
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one strategy did with one seed.

    Args:
        strategy: Its name, as it was asked for.
        seed: The seed.
        volumes: The hypervolume after 1, 2, … distinct measurements.
        seconds: How long the strategy and the table took.
    """

    strategy: str
    seed: int
    volumes: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Outcomes of several strategies on one table.

    Args:
        outcomes: One for each strategy and seed.
        best: The hypervolume that counts as 1.
        is_best_known: Whether it is that of the table; otherwise the best that any run reached.
        evaluations: Distinct measurements each run was allowed.
    """

    _: KW_ONLY
    outcomes: tuple[Outcome, ...]
    best: float
    is_best_known: bool
    evaluations: int
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = tuple(dict.fromkeys(outcome.strategy for outcome in self.outcomes))
        object.__setattr__(self, "_names", names)

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies, in the order in which they were asked for."""
        return self._names

    def shares(self, name: str) -> NDArray[np.float64]:
        """Share of the best hypervolume, shape (seeds, evaluations).

        A run that ended early, because nothing was left to measure, keeps its last share.
        """
        rows = []
        for outcome in self.outcomes:
            if outcome.strategy == name:
                row = np.zeros(self.evaluations)
                found = np.array(outcome.volumes)[: self.evaluations] / self.best
                row[: len(found)] = found
                row[len(found) :] = found[-1] if len(found) else 0.0
                rows.append(row)
        return np.array(rows)

    def share_after(self, name: str, count: int) -> tuple[float, float, float]:
        """Median share after ``count`` measurements, and its 95 % interval over seeds."""
        return _median(self.shares(name)[:, count - 1])

    def needed(self, name: str, share: float) -> tuple[float, float, float]:
        """Median measurements to reach a share, and its interval; infinite if not reached."""
        reached = self.shares(name) >= share
        first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
        return _median(first)

    def seconds(self, name: str) -> float:
        """Median seconds of a run."""
        return float(np.median([o.seconds for o in self.outcomes if o.strategy == name]))


def _median(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The median and the 2.5 % and 97.5 % points of the medians of resampled seeds.

    Infinities count as large numbers, so an even number of seeds has the upper of the two middle
    values where one of them is infinite.
    """
    rng = generator(0, "search", "median")
    picks = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    medians = np.sort([_middle(values[pick]) for pick in picks])
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return _middle(values), float(low), float(high)


def _middle(values: NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(high) if not np.isfinite(high) else float((low + high) / 2)


def compare(
    table: RecordedTable,
    strategies: Sequence[str] | Mapping[str, Runner | str],
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    evaluations: int = 500,
    jobs: int = 1,
    progress: Callable[[Outcome], None] | None = None,
) -> Comparison:
    """Run strategies on a table with several seeds.

    Args:
        table: The recorded results.
        strategies: Names such as ``random``, ``TPESampler`` or ``linas:population=50``; or what
            they are to be called and a name or a function of table, seed and evaluations that
            gives the values of what it measured, in order.
        seeds: One run for each.
        evaluations: Distinct measurements of a run; a config measured before costs nothing.
        jobs: Runs at the same time, in processes of their own; names and tables with a
            ``source`` only.
        progress: Called after each run.

    Example:
        >>> from supple.search.tables import RecordedTable, compare
        >>> from supple.space import Space, Width
        >>> table = RecordedTable(
        ...     space=Space({n: Width(options=(1, 2, 3, 4)) for n in "ab"}),
        ...     directions={"loss": "min", "macs": "min"},
        ...     evaluate=lambda c: {"loss": 1 / c["a"] + 1 / c["b"], "macs": c["a"] * c["b"]},
        ...     reference={"loss": 2.1, "macs": 17.0},
        ... )
        >>> found = compare(table, ["random"], seeds=(0, 1), evaluations=16)
        >>> found.share_after("random", 16)
        (1.0, 1.0, 1.0)
    """
    named = strategies if isinstance(strategies, Mapping) else {name: name for name in strategies}
    if not named or not seeds or evaluations < 1:
        raise SearchError(
            "a comparison needs a strategy, a seed and an evaluation.",
            hint='compare(table, ["random", "linas"], seeds=(0, 1), evaluations=100).',
        )
    for what in named.values():
        if isinstance(what, str):
            sampler_of(what, table, 0)  # says now what is wrong with it, not in an hour
    outcomes = []
    work = [(name, what, seed) for name, what in named.items() for seed in seeds]
    for outcome in _run_all(table, work, evaluations, jobs):
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome)
    known = table.known_hypervolume()
    reached = max((max(o.volumes, default=0.0) for o in outcomes), default=0.0)
    return Comparison(
        outcomes=tuple(outcomes),
        best=known or reached or 1.0,
        is_best_known=bool(known),
        evaluations=evaluations,
    )


def _run_all(
    table: RecordedTable,
    work: Sequence[tuple[str, Runner | str, int]],
    evaluations: int,
    jobs: int,
) -> Iterator[Outcome]:
    if jobs <= 1:
        for name, what, seed in work:
            yield _run_one(table, name, what, seed, evaluations)
        return
    if not table.source or not all(isinstance(what, str) for _, what, _ in work):
        raise SearchError(
            "runs in processes of their own need a table and strategies given by name.",
            hint="load_table(path), names of strategies, or jobs=1.",
        )
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(
                _in_process,
                table.source,
                tuple(table.directions),
                table.exact,
                name,
                str(what),
                seed,
                evaluations,
            )
            for name, what, seed in work
        ]
        for future in running:
            yield future.result()


def _in_process(
    source: str,
    objectives: tuple[str, ...],
    exact: tuple[str, ...],
    name: str,
    what: str,
    seed: int,
    evaluations: int,
) -> Outcome:
    table = load_table(source, objectives=objectives, exact=exact)
    return _run_one(table, name, what, seed, evaluations)


def _run_one(
    table: RecordedTable, name: str, what: Runner | str, seed: int, evaluations: int
) -> Outcome:
    start = time.perf_counter()
    values: Sequence[Mapping[str, float]]
    if isinstance(what, str):
        values = run_strategy(table, sampler_of(what, table, seed), evaluations)
    else:
        values = list(what(table, seed, evaluations))[:evaluations]
    seconds = time.perf_counter() - start
    return Outcome(
        strategy=name,
        seed=seed,
        volumes=tuple(_volumes(values, table.directions, table.reference)),
        seconds=seconds,
    )


def sampler_of(text: str, table: RecordedTable, seed: int) -> BaseSampler:
    """The strategy in a text such as ``linas:population=50,random_share=0``.

    A strategy with a setting ``exact`` is given the objectives that the table counts exactly, and
    one with a setting ``reference`` the reference point, unless the text says ``exact=off`` or
    ``reference=off``.
    """
    name, _, given = text.partition(":")
    settings = dict(_setting(part, text) for part in given.split(",") if part)
    knows = {name: settings.pop(name, None) != "off" for name in ("exact", "reference")}
    made = strategy(name, space=table.space, directions=table.directions, seed=seed, **settings)
    known: dict[str, Any] = {}
    if knows["exact"] and getattr(made, "exact", 0) is None and table.exact:
        known["exact"] = table.exact_losses()
    if knows["reference"] and getattr(made, "reference", 0) is None:
        known["reference"] = tuple(table.reference[objective] for objective in table.directions)
    return strategy(name, space=table.space, seed=seed, **settings, **known) if known else made


def _setting(part: str, text: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if not equals or not name:
        raise SearchError(
            f"the settings of the strategy '{text}' cannot be read.", hint="linas:population=50."
        )
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    words = {"true": True, "false": False, "none": None}
    return name, words.get(value.lower(), value)


def run_strategy(
    table: RecordedTable, sampler: BaseSampler, evaluations: int
) -> list[dict[str, float]]:
    """The values that a strategy measures, in order, each config once.

    Args:
        table: The recorded results.
        sampler: A strategy for its space.
        evaluations: Distinct measurements.
    """
    known: dict[Any, dict[str, float]] = {}

    def evaluate(config: Any) -> dict[str, float]:
        if config not in known:
            known[config] = table.measure(config)
        return known[config]

    study = Study.open(None, space=table.space, directions=table.directions)
    asked, wanted = 0, evaluations
    while len(known) < evaluations:
        study.run(evaluate, sampler, evaluations=wanted)
        if len(study.trials) == asked:
            break  # nothing is left to measure
        asked = len(study.trials)
        wanted = asked + evaluations - len(known)
    return list(known.values())


@dataclass(frozen=True)
class _Measured:
    values: Mapping[str, float]


def _volumes(
    values: Sequence[Mapping[str, float]],
    directions: Directions,
    reference: Mapping[str, float],
) -> list[float]:
    trials = [_Measured(found) for found in values]
    return [volume for _, volume in hypervolume_curve(trials, directions, dict(reference))]
