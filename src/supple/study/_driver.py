"""The driver of a study: proposes, hands out, writes what comes back. Nobody else writes.

Proposals of one batch do not depend on each other, so as many of them as there are workers are
evaluated at a time; the strategy hears of a batch when all of it is done, in the order of its
proposals. What it proposes next therefore depends neither on the number of workers nor on who was
first. A sampler that knows of no batches is asked for as many configs at a time as there are
workers: repeatable, but another search for another number of workers.
"""

from __future__ import annotations

import traceback
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supple.errors import MeasureError, StudyError
from supple.progress import Event, Progress
from supple.study._interrupt import Interrupt
from supple.study._outcome import Evaluate, checked_outcome, part_of_outcome
from supple.study._record import Record, Slot, Started
from supple.study._trial import Reason, Trial
from supple.study._view import Proposal, View
from supple.study.executors import Answer, Phases, Pool
from supple.study.executors._executor import evaluated

__all__ = ["Driver"]

# As many evaluations that fail in a row from the start mean that no evaluation will succeed.
FAILURES_AT_START = 5


@dataclass(kw_only=True)
class _Open:
    """A trial that was started and has not ended."""

    proposal: Proposal
    started: Started
    part: Mapping[str, Any]


class Driver:
    """One run of a study.

    Args:
        record: Where trials are written.
        view: What the strategy sees.
        pool: The workers.
        workers: How many tasks the pool works on at a time.
        alone: The part of the evaluation that runs here while no worker is busy; None if there
            is no such part.
        evaluations: Number of complete trials at which to end.
        trials: All trials so far; those that end are added.
        still_ours: Raises a StudyError if another driver may have taken over.
        interrupt: Tells of Ctrl-C.
        progress: Called after every trial.
        stop: Asked before every trial whether to end here.
    """

    def __init__(
        self,
        *,
        record: Record,
        view: View,
        pool: Pool,
        workers: int,
        alone: Evaluate | None,
        evaluations: int,
        trials: list[Trial],
        still_ours: Callable[[], None],
        interrupt: Interrupt,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._record, self._view, self._pool = record, view, pool
        self._workers, self._alone, self._evaluations = workers, alone, evaluations
        self._trials, self._interrupt = trials, interrupt
        self._still_ours, self._progress, self._stop = still_ours, progress, stop
        self._done = sum(trial.is_complete for trial in trials)
        self._repeats: list[Proposal] = []
        self._running: dict[int, _Open] = {}
        self._waiting: dict[int, _Open] = {}  # for a machine that is idle
        self._ended: dict[int, tuple[Proposal, Trial]] = {}  # not told yet
        self._batch: int | None = None
        self._failed: list[int] = []
        self._has_succeeded = False
        self._note = ""

    def run(self, slots: Sequence[Slot]) -> str:
        """Evaluate until there are enough complete trials; why there are not, or nothing."""
        for slot in slots:
            if slot.is_done:
                self._view.add(slot.trial, slot.system_attrs)
            else:
                self._repeats.append(
                    self._view.repeat(slot.trial.config, slot.system_attrs, slot.part)
                )
        while True:
            self._hand_out()
            if self._running:
                with self._interrupt.allowed():
                    answer = self._pool.next()
                self._take(answer)
            elif self._waiting:
                self._measure_alone()
            elif self._ended:
                self._tell()
            else:
                self._interrupt.raise_if_asked()
                return self._note

    # Handing out

    def _hand_out(self) -> None:
        while len(self._running) < self._workers and not self._note and not self._is_hopeless:
            is_open = len(self._running) + len(self._waiting)
            if self._done + is_open >= self._evaluations:
                return
            if self._stop is not None and self._stop():
                self._note = f"stopped after {self._done} of {self._evaluations} evaluations"
                return
            proposal = self._next()
            if proposal is None:
                return
            self._interrupt.raise_if_asked()
            self._start(proposal)

    def _next(self) -> Proposal | None:
        """The next config to evaluate; None if the strategy must hear of others first."""
        if self._repeats:
            return self._repeats.pop(0)
        untold = len(self._running) + len(self._waiting) + len(self._ended)
        batch = self._view.batch
        if untold and batch != self._batch:
            return None
        if batch is None and untold >= self._workers:
            return None
        self._batch = batch
        proposal = self._view.propose()
        if proposal is None:
            self._note = self._note_at_end()
        return proposal

    def _start(self, proposal: Proposal) -> None:
        self._still_ours()
        started = self._record.start(proposal)
        one = _Open(proposal=proposal, started=started, part=proposal.part)
        if proposal.part and self._alone is not None:
            self._waiting[proposal.place] = one
        else:
            self._running[proposal.place] = one
            self._pool.submit(proposal.place, proposal.config)

    def _note_at_end(self) -> str:
        space, seen = self._view.space, len(self._view.values_of)
        done = self._done + len(self._running) + len(self._waiting)
        if space.is_size_exact and seen >= space.size:
            return f"all {space.size} configs of the space were evaluated, {done} complete"
        return f"the strategy has no new config to propose, after {done} complete evaluations"

    # Taking back

    def _take(self, answer: Answer) -> None:
        one = self._running.pop(answer.place)
        if self._alone is None:
            self._end(one, answer, {})
            return
        if not answer.reason:
            try:
                outcome = part_of_outcome(answer.result, self._view.objectives)
            except MeasureError as problem:
                self._fail(one, _reason(problem), traceback.format_exc(), answer.seconds)
                return
            one.part = self._record.part(one.started, outcome, answer.seconds)
            self._waiting[answer.place] = one
            return
        self._end(one, answer, {})

    def _measure_alone(self) -> None:
        """The part of one trial that needs a quiet machine; every worker is idle now."""
        assert self._alone is not None
        place = min(self._waiting)
        one = self._waiting[place]
        with self._interrupt.allowed():
            answer = evaluated(self._alone, place, one.proposal.config)
        del self._waiting[place]
        self._end(one, answer, one.part)

    def _end(self, one: _Open, answer: Answer, part: Mapping[str, Any]) -> None:
        """Write what came of a trial."""
        seconds = answer.seconds + (part.get("seconds") or 0.0)
        if answer.reason:
            self._fail(one, answer.reason, answer.error, seconds)
            return
        try:
            outcome = checked_outcome(_joined(part, answer.result), self._view.objectives)
        except MeasureError as problem:
            self._fail(one, _reason(problem), traceback.format_exc(), seconds)
            return
        self._add(one, self._record.complete(one.started, outcome, seconds))

    def _fail(self, one: _Open, reason: Reason, error: str, seconds: float) -> None:
        self._add(one, self._record.fail(one.started, reason, error, seconds))

    def _add(self, one: _Open, trial: Trial) -> None:
        self._ended[one.proposal.place] = (one.proposal, trial)
        insort(self._trials, trial, key=lambda other: other.number)
        if trial.is_complete:
            self._has_succeeded = True
            self._done += 1
        elif not self._has_succeeded:
            self._failed.append(trial.number)
        if self._progress is not None:
            self._progress(_event(trial, self._done, self._evaluations))
        if self._is_hopeless and not self._running and not self._waiting:
            raise self._all_failed(trial)

    @property
    def _is_hopeless(self) -> bool:
        return len(self._failed) >= FAILURES_AT_START and not self._has_succeeded

    def _all_failed(self, last: Trial) -> StudyError:
        """The error for a run that began with nothing but failures; its configs stay open."""
        self._record.discard(self._failed)
        return StudyError(
            f"the first {len(self._failed)} evaluations all failed, the last one with:\n"
            f"{last.error}",
            why="When none works, the fault is in the evaluation, not in the configs.",
            hint="mend it and repeat the command; these configs will be evaluated again.",
            trials=self._failed,
            error=last.error,
        )

    def _tell(self) -> None:
        """Let the strategy hear of the batch, in the order of its proposals."""
        for place in sorted(self._ended):
            self._view.tell(*self._ended.pop(place))


def _joined(part: Mapping[str, Any], result: Any) -> Any:
    """The parts of an evaluation as the result of one."""
    if not part:
        return result
    return Phases(
        together=lambda config: (part["values"], part["details"]), alone=lambda config: result
    )({})  # type: ignore[arg-type]


def _reason(problem: MeasureError) -> Reason:
    return "value" if problem.data.get("objective") else "raised"


def _event(trial: Trial, done: int, total: int) -> Event:
    message = f"trial {trial.number}" + ("" if trial.is_complete else f" failed: {trial.reason}")
    return Event("search", done, total, message, dict(trial.values))
