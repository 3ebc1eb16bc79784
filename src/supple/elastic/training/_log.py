"""What a training run tells: while it runs, and when it is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["TrainingLog", "TrainingProgress"]


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a run is, given to the progress callback after every step.

    Attributes:
        step: Steps done, this one included.
        steps: Steps of the whole run.
        epoch: The epoch of this step, from 0.
        loss: The loss of this step.
        lr: The learning rate of this step.
        seconds: Time spent so far, over all sittings.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """What happened in a finished run.

    Attributes:
        losses: The loss of every step; of a resumed run, of all its sittings.
        steps: Optimiser steps.
        epochs: Passes over the data, the last perhaps not whole.
        seconds: Time spent, over all sittings.
        resumed_at: The step at which this sitting began; 0 if it began at the start.
        rule: The rule as JSON data.
        recipe: The recipe as JSON data.
        seed: The seed.
    """

    losses: tuple[float, ...]
    steps: int
    epochs: float
    seconds: float
    resumed_at: int
    rule: dict[str, Any]
    recipe: dict[str, Any]
    seed: int

    @property
    def final_loss(self) -> float:
        """The mean loss of the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last)

    def to_json(self) -> dict[str, Any]:
        """The log as JSON data."""
        return {**asdict(self), "losses": list(self.losses)}
