"""What a long job tells the outside about how far it is.

The main job calls ``progress(event)`` now and then; a progress bar, a log line or a web page are
all functions of an :class:`Event`. No heavy import, so that anything may know this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["STAGES", "Event", "Progress", "Stage"]

Stage = Literal["prepare", "trace", "train", "search", "finetune", "measure", "export", "report"]

STAGES: tuple[Stage, ...] = get_args(Stage)
"""The stages of the main job, in the order in which they run."""


@dataclass(frozen=True)
class Event:
    """One step of a long job.

    Args:
        stage: Which part of the job this is, one of :data:`STAGES`.
        done: How many units of the stage are finished.
        total: How many there will be; ``None`` when nobody can know.
        message: What is being done now, a few words.
        values: Numbers worth watching, such as ``{"loss": 0.31}``.

    Example:
        >>> Event("search", 3, 60, "trial 3", {"accuracy": 0.981}).is_finished
        False
    """

    stage: Stage
    done: int
    total: int | None
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether this is the last event of its stage."""
        return self.total is not None and self.done >= self.total


Progress = Callable[[Event], None]
"""What the main job calls: a function of one event that returns nothing."""
