"""Running claims: every seed on its own, in this process or in several, with the same result."""

from __future__ import annotations

import datetime
import importlib
import math
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supple.claims._claim import Arms, Budget, Claim, settings_json
from supple.claims._evidence import Evidence, findings_of
from supple.claims._fingerprint import fingerprint
from supple.claims._rule import overall
from supple.errors import ClaimError

__all__ = ["Step", "run", "run_all"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far a run is.

    Attributes:
        done: Seeds measured, over all claims.
        total: Seeds to measure.
        claim: The claim whose seed was measured last.
        seed: That seed.
        seconds: Processor time it took.
    """

    done: int
    total: int
    claim: str
    seed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What one seed gave: values, or the error it raised."""

    values: Arms | None
    failure: str
    seconds: float


def run(
    claim: Claim[Any],
    *,
    budget: Budget = "quick",
    seeds: int | Sequence[int] | None = None,
    jobs: int = 1,
    progress: Callable[[Step], object] | None = None,
) -> Evidence:
    """Measure one claim; see :func:`run_all`."""
    return next(run_all([claim], budget=budget, seeds=seeds, jobs=jobs, progress=progress))


def run_all(
    claims: Iterable[Claim[Any]],
    *,
    budget: Budget = "quick",
    seeds: int | Sequence[int] | None = None,
    jobs: int = 1,
    progress: Callable[[Step], object] | None = None,
    failed: Callable[[ClaimError], object] | None = None,
) -> Iterator[Evidence]:
    """Measure claims and give the evidence of each as soon as all its seeds are measured.

    Nothing is stored. A seed that raises an error is reported in the evidence and its values are
    NaN, which leaves every rule undecided. A run that is interrupted gives no evidence for the
    claim it was in.

    Args:
        claims: What to measure.
        budget: ``quick`` or ``full``.
        seeds: How many seeds, or which; by default what the claim says for the budget.
        jobs: Processes; with 1 everything runs in this one. The values are the same, but for
            times, which other processes lengthen.
        progress: Called after every seed.
        failed: Called with the error of a claim of which no seed could be measured, such as one
            whose data are not there; the others go on. Without it that error is raised.

    Raises:
        ClaimError: All seeds of a claim failed, or a rule asks for what was not measured.
    """
    work = [(one, seed) for one in claims for seed in _seeds(one, budget, seeds)]
    outcomes = _serial(work, budget) if jobs == 1 else _parallel(work, budget, jobs)
    began, gathered = _now(), dict[tuple[str, str], dict[int, _Outcome]]()
    for done, (claim, seed, outcome) in enumerate(outcomes, start=1):
        found = gathered.setdefault((claim.module, claim.function), {})
        found[seed] = outcome
        if outcome.values is not None:
            # A rule that asks for what is not measured is found out by the first seed.
            findings_of(claim.rules, _by_arm([outcome.values]), (seed,))
        if progress is not None:
            took = outcome.seconds
            progress(Step(done=done, total=len(work), claim=claim.name, seed=seed, seconds=took))
        wanted = _seeds(claim, budget, seeds)
        if len(found) < len(wanted):
            continue
        if failed is not None and all(found[s].failure for s in wanted):
            failed(_nothing_measured(claim, found.values()))
        else:
            yield _evidence(claim, budget, {s: found[s] for s in wanted}, began)


def _seeds(claim: Claim[Any], budget: Budget, seeds: int | Sequence[int] | None) -> tuple[int, ...]:
    asked = claim.seeds(budget) if seeds is None else seeds
    chosen = tuple(range(asked)) if isinstance(asked, int) else tuple(dict.fromkeys(asked))
    if not chosen or any(seed < 0 for seed in chosen):
        raise ClaimError(f"a claim cannot be measured with seeds={seeds!r}.", hint="seeds=3.")
    return chosen


_Work = list[tuple[Claim[Any], int]]
_Outcomes = Iterator[tuple[Claim[Any], int, _Outcome]]


def _serial(work: _Work, budget: Budget) -> _Outcomes:
    for claim, seed in work:
        yield claim, seed, _measured(claim, seed, budget)


def _parallel(work: _Work, budget: Budget, jobs: int) -> _Outcomes:
    if jobs < 1:
        raise ClaimError(f"claims cannot run in {jobs} processes.", hint="--jobs 2.")
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_interrupts)
    try:
        waiting: list[tuple[Claim[Any], int, Future[_Outcome]]] = [
            (
                claim,
                seed,
                pool.submit(_measured_by_name, claim.module, claim.function, seed, budget),
            )
            for claim, seed in work
        ]
        for claim, seed, future in waiting:
            try:
                yield claim, seed, future.result()
            except BrokenProcessPool as error:
                raise ClaimError(
                    f"a process that measured '{claim.name}' was ended from outside.",
                    why="Often the machine had no memory left.",
                    hint="fewer --jobs.",
                ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; only a seed that is being measured heeds it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measured_by_name(module: str, function: str, seed: int, budget: Budget) -> _Outcome:
    claim = getattr(importlib.import_module(module), function)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _measured(claim, seed, budget)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measured(claim: Claim[Any], seed: int, budget: Budget) -> _Outcome:
    import torch

    from supple.claims._torch_seed import seeded

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()
    try:
        with seeded(seed, claim.name):
            values = _plain(claim, claim.measure(seed, claim.settings(budget)))
        return _Outcome(values=values, failure="", seconds=time.process_time() - began)
    except ClaimError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return _Outcome(values=None, failure=text, seconds=time.process_time() - began)
    finally:
        torch.set_num_threads(threads)


def _plain(claim: Claim[Any], arms: Arms) -> Arms:
    """Numbers and curves as plain floats."""
    plain: dict[str, dict[str, Any]] = {}
    for arm, metrics in arms.items():
        plain[arm] = {}
        for metric, value in metrics.items():
            try:
                curve = not isinstance(value, float | int) and hasattr(value, "__len__")
                plain[arm][metric] = (
                    tuple((float(x), float(y)) for x, y in value)  # type: ignore[union-attr]
                    if curve
                    else float(value)  # type: ignore[arg-type]
                )
            except (TypeError, ValueError) as error:
                raise ClaimError(
                    f"the claim '{claim.name}' gave {value!r} for '{metric}' of '{arm}'.",
                    hint="a number, or a curve [(x, y), ...].",
                ) from error
    return plain


def _nothing_measured(claim: Claim[Any], found: Iterable[_Outcome]) -> ClaimError:
    return ClaimError(
        f"no seed of the claim '{claim.name}' could be measured.",
        why=next(iter(found)).failure,
        hint="run it with one seed and --jobs 1 in a debugger.",
    )


def _evidence(
    claim: Claim[Any], budget: Budget, found: Mapping[int, _Outcome], began: str
) -> Evidence:
    from supple.measure import machine

    failures = {str(seed): one.failure for seed, one in found.items() if one.failure}
    if len(failures) == len(found):
        raise _nothing_measured(claim, found.values())
    values = _by_arm([one.values for one in found.values()])
    findings = findings_of(claim.rules, values, tuple(found))
    return Evidence(
        claim=claim.name,
        paper=claim.paper,
        budget=budget,
        verdict=overall(findings),
        rules=claim.rules,
        findings=findings,
        seeds=tuple(found),
        values=values,
        failures=failures,
        settings=settings_json(claim.settings(budget)),
        machine={**machine(), **_versions()},
        date=began,
        seconds=math.fsum(one.seconds for one in found.values()),
        measured=fingerprint(_source(claim)),
    )


def _by_arm(seeds: Sequence[Arms | None]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Arm -> metric -> the value of each seed, NaN where a seed has none."""
    shape: dict[str, dict[str, bool]] = {}
    for arms in seeds:
        for arm, metrics in (arms or {}).items():
            for metric, value in metrics.items():
                shape.setdefault(arm, {})[metric] = isinstance(value, tuple)
    return {
        arm: {
            metric: tuple(
                ((arms or {}).get(arm) or {}).get(metric, () if is_curve else math.nan)
                for arms in seeds
            )
            for metric, is_curve in metrics.items()
        }
        for arm, metrics in shape.items()
    }


def _source(claim: Claim[Any]) -> Path:
    return Path(str(importlib.import_module(claim.module).__file__))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    import supple

    names = ("numpy", "scikit-learn", "optuna")
    return {"supple": supple.__version__, **{name: version(name) for name in names}}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
