"""Record: the trials of one study in its storage, read and written.

One commit starts a trial, two end it: its details, then its state. In that order a complete trial
always has its details, and a driver killed in between leaves a running trial, which the next
driver finds and evaluates again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from supple.errors import StudyError
from supple.space import Config, Space
from supple.study._lock import is_alive, this_process
from supple.study._outcome import Outcome
from supple.study._trial import (
    FAILURE,
    OWNER,
    PART,
    PLACE,
    REPEATED,
    RESULT,
    Reason,
    Trial,
    from_frozen,
    running_template,
)
from supple.study._view import Proposal
from supple.study.direction import Directions
from supple.study.distributions import distributions
from supple.study.storage import Location, explained

__all__ = ["Record", "Slot", "Started"]

# A user attribute of the Optuna study: numbers of trials that are as if they had never been.
DISCARDED = "supple:discarded"


@dataclass(frozen=True, kw_only=True)
class Started:
    """A trial that is being evaluated."""

    trial_id: int
    number: int
    config: Config
    place: int


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place in the sequence of proposals, as it was found in the storage.

    Args:
        trial: The newest trial of this place.
        system_attrs: What the strategy noted down about the proposal.
        is_done: Whether it ended; otherwise its config is to be evaluated again.
        part: What its workers had measured before the driver was stopped.
    """

    trial: Trial
    system_attrs: Mapping[str, Any]
    is_done: bool
    part: Mapping[str, Any]


class Record:
    """One study in its storage.

    Args:
        storage: The Optuna storage.
        location: Where that is, for messages.
        study_id: The study's id there.
        name: The study's name, for messages.
        space: The space of its configs.
        directions: Its objectives.
    """

    def __init__(
        self,
        *,
        storage: BaseStorage,
        location: Location,
        study_id: int,
        name: str,
        space: Space,
        directions: Directions,
    ) -> None:
        self.location = location
        self._storage = storage
        self._id = study_id
        self._name = name
        self._space = space
        self._objectives = list(directions)
        self._distributions = distributions(space)

    # Reading

    def trials(self) -> list[tuple[Trial, FrozenTrial]]:
        """All trials with what Optuna stored of them, in the order of their numbers."""
        found = []
        for frozen in self._frozen():
            trial = from_frozen(frozen, self._space, self._objectives)
            if trial is not None:
                found.append((trial, frozen))
        return found

    def slots(self) -> list[Slot]:
        """The proposals of the strategy so far, in their order, each with what came of it."""
        discarded = self._discarded()
        found: dict[int, Slot] = {}
        for trial, frozen in self.trials():
            is_discarded = trial.number in discarded
            is_done = trial.state != "running" and trial.reason not in REPEATED
            slot = Slot(
                trial=trial,
                system_attrs=frozen.system_attrs,
                is_done=is_done and not is_discarded,
                part={} if is_discarded else frozen.user_attrs.get(PART, {}),
            )
            # Trials of supple 0.1 have no place: theirs is the next, if they count at all.
            place = trial.place if trial.place is not None else len(found)
            if slot.is_done or (trial.place is not None and not _is_done(found.get(place))):
                found[place] = slot
        return [found[place] for place in sorted(found)]

    def _frozen(self) -> list[FrozenTrial]:
        with explained(self.location):
            stored = self._storage.get_all_trials(self._id, deepcopy=False)
        return sorted(stored, key=lambda frozen: frozen.number)

    def _discarded(self) -> list[int]:
        with explained(self.location):
            attributes = self._storage.get_study_user_attrs(self._id)
        return list(attributes.get(DISCARDED, []))

    # Writing

    def start(self, proposal: Proposal) -> Started:
        """Store a proposal as a running trial of this process."""
        attributes = {OWNER: this_process(), PLACE: proposal.place}
        if proposal.part:
            attributes[PART] = dict(proposal.part)
        template = running_template(
            proposal.config, self._distributions, attributes, proposal.system_attrs
        )
        with explained(self.location):
            trial_id = self._storage.create_new_trial(self._id, template_trial=template)
            number = self._storage.get_trial_number_from_id(trial_id)
        return Started(
            trial_id=trial_id, number=number, config=proposal.config, place=proposal.place
        )

    def part(self, started: Started, outcome: Outcome, seconds: float) -> dict[str, Any]:
        """Store what was measured so far, so that a driver that is killed now loses none of it."""
        part = {"values": outcome.values, "details": outcome.details, "seconds": seconds}
        with explained(self.location):
            self._storage.set_trial_user_attr(started.trial_id, PART, part)
        return part

    def complete(self, started: Started, outcome: Outcome, seconds: float) -> Trial:
        """Store what was measured."""
        objectives = [outcome.values[name] for name in self._objectives]
        more = {n: v for n, v in outcome.values.items() if n not in self._objectives}
        result = {"more": more, "details": outcome.details, "seconds": seconds}
        with explained(self.location):
            self._storage.set_trial_user_attr(started.trial_id, RESULT, result)
            self._storage.set_trial_state_values(started.trial_id, TrialState.COMPLETE, objectives)
        return Trial(
            number=started.number,
            config=started.config,
            state="complete",
            values=outcome.values,
            details=outcome.details,
            seconds=seconds,
            place=started.place,
        )

    def fail(self, started: Started, reason: Reason, error: str, seconds: float) -> Trial:
        """Store what went wrong."""
        self._fail(started.trial_id, reason, error, seconds)
        return Trial(
            number=started.number,
            config=started.config,
            state="failed",
            seconds=seconds,
            reason=reason,
            error=error,
            place=started.place,
        )

    def _fail(self, trial_id: int, reason: Reason, error: str, seconds: float | None) -> None:
        failure = {"reason": reason, "error": error, "seconds": seconds}
        with explained(self.location):
            try:
                self._storage.set_trial_user_attr(trial_id, FAILURE, failure)
                self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            except UpdateFinishedTrialError:
                pass  # Ctrl-C came when it was written already

    def discard(self, numbers: Sequence[int]) -> None:
        """Take failed trials out of what counts; their configs may be evaluated again."""
        discarded = [*self._discarded(), *numbers]
        with explained(self.location):
            self._storage.set_study_user_attr(self._id, DISCARDED, discarded)

    def reclaim(self, reason: Reason = "abandoned") -> None:
        """Mark the running trials of drivers that are gone as failed; they will be run again.

        Raises:
            StudyError: If such a driver lives, or may live on another machine.
        """
        for frozen in self._frozen():
            if not frozen.state.is_finished():
                self._require_gone(frozen)
                self._fail(frozen._trial_id, reason, f"{reason} while it was running", None)

    def _require_gone(self, frozen: FrozenTrial) -> None:
        owner, ours = frozen.user_attrs.get(OWNER, {}), this_process()
        what = f"trial {frozen.number} of study '{self._name}'"
        if owner != ours and is_alive(owner):
            raise StudyError(
                f"{what} is being evaluated by process {owner['pid']} on this machine.",
                hint="wait for that process or stop it.",
                owner=owner,
            )
        # Whoever holds the lock of the file or of the server is alone.
        has_lock = self.location.has_lock
        if owner and not has_lock and owner.get("host") != ours["host"]:
            raise StudyError(
                f"{what} was started by process {owner.get('pid')} on {owner.get('host')}, "
                "which may still run.",
                hint="run the command on that machine, or stop it there and set the trial to "
                "FAIL with Optuna.",
                owner=owner,
            )


def _is_done(slot: Slot | None) -> bool:
    return slot is not None and slot.is_done
