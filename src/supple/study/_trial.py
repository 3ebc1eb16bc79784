"""Trial: one config and what came of it; and its form in the storage.

A trial is stored whole. When it starts, one commit writes all its choices and who runs it; when
it ends, one writes what was measured and one its state. A kill in between leaves it running,
which the next driver notices.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from supple.errors import SpaceError
from supple.space import Config, Space
from supple.study._front import Candidate

__all__ = ["Reason", "State", "Trial", "from_frozen", "running_template"]

State = Literal["running", "complete", "failed"]
Reason = Literal["", "raised", "value", "lost", "interrupted", "abandoned", "other"]

# User attributes of an Optuna trial.
OWNER, RESULT, FAILURE = "supple:owner", "supple:result", "supple:failure"
PLACE, PART = "supple:place", "supple:part"

# Not the config's fault: it is evaluated again, and strategies never hear of it.
REPEATED: frozenset[Reason] = frozenset({"interrupted", "abandoned"})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One config, and what came of evaluating it.

    Args:
        number: Position in the study, from 0; it never changes.
        config: The config.
        state: ``running``, ``complete`` or ``failed``.
        values: Every number measured, by name, the objectives first; empty if not complete.
        details: What else the evaluation told.
        seconds: How long the evaluation took; None if it did not end by itself.
        reason: Why it failed: ``raised`` (the evaluation raised), ``value`` (an objective that
            is no finite number), ``lost`` (its workers kept dying), ``interrupted`` (Ctrl-C),
            ``abandoned`` (the driver was killed), ``other``; empty if it did not fail.
        error: What went wrong, with the traceback where there is one.
        place: Which proposal of the strategy it is, from 0; a config that is evaluated again,
            because the driver was stopped, keeps its place. None for what supple 0.1 stored.
    """

    number: int
    config: Config
    state: State
    values: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    reason: Reason = ""
    error: str = ""
    place: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all objectives were measured."""
        return self.state == "complete"

    def to_candidate(self) -> Candidate:
        """The candidate that this trial measured."""
        return Candidate(
            number=self.number, config=self.config, values=self.values, details=self.details
        )


def running_template(
    config: Config,
    distributions: Mapping[str, BaseDistribution],
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
) -> FrozenTrial:
    """What one ``create_new_trial`` writes when a trial starts."""
    return FrozenTrial(
        number=-1,  # number and id are the storage's to give
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        values=None,
        datetime_start=datetime.datetime.now(),
        datetime_complete=None,
        params=dict(config),
        distributions=dict(distributions),
        user_attrs=dict(user_attrs),
        system_attrs=dict(system_attrs),
        intermediate_values={},
    )


def from_frozen(frozen: FrozenTrial, space: Space, objectives: list[str]) -> Trial | None:
    """The trial that Optuna stored; None for one that was never given all its choices."""
    try:
        config = space.validate(frozen.params)
    except SpaceError:
        return None
    if frozen.state == TrialState.COMPLETE:
        return _complete(frozen, config, objectives)
    place = frozen.user_attrs.get(PLACE)
    if not frozen.state.is_finished():
        return Trial(number=frozen.number, config=config, state="running", place=place)
    failure = frozen.user_attrs.get(FAILURE, {})
    return Trial(
        number=frozen.number,
        config=config,
        state="failed",
        seconds=failure.get("seconds"),
        reason=failure.get("reason", "other"),
        error=failure.get("error", ""),
        place=place,
    )


def _complete(frozen: FrozenTrial, config: Config, objectives: list[str]) -> Trial:
    result = frozen.user_attrs.get(RESULT, {})
    return Trial(
        number=frozen.number,
        config=config,
        state="complete",
        values={**dict(zip(objectives, frozen.values, strict=True)), **result.get("more", {})},
        details=result.get("details", {}),
        seconds=result.get("seconds"),
        place=frozen.user_attrs.get(PLACE),
    )
