"""What an executor is: it starts a pool of workers, which takes configs and gives answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from supple.errors import StudyError
from supple.space import Config
from supple.study._outcome import Evaluate, split_result

__all__ = ["Answer", "Executor", "Phases", "Pool", "evaluated", "whole_number"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one task.

    Args:
        place: The place of the proposal, as it was submitted.
        result: What the evaluation returned; None if it did not return.
        reason: Why it did not: ``"raised"``, or ``"lost"`` where its workers kept dying.
        error: The traceback, or what is known of the workers' end.
        seconds: How long the evaluation took in the worker.
    """

    place: int
    result: Any = None
    reason: Literal["", "raised", "lost"] = ""
    error: str = ""
    seconds: float = 0.0


class Pool(AbstractContextManager["Pool"], ABC):
    """Workers that were started for one evaluation; closed by leaving its ``with`` block."""

    @abstractmethod
    def submit(self, place: int, config: Config) -> None:
        """Hand over a config; ``place`` comes back with the answer."""

    @abstractmethod
    def next(self) -> Answer:
        """Wait for the next answer, of any task that was submitted."""

    @abstractmethod
    def close(self) -> None:
        """End all workers, whatever they are doing."""

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class Executor(ABC):
    """Where evaluations run.

    Attributes:
        name: What the command line calls it.
        is_remote: Whether evaluations run outside the driver's process.
    """

    name: ClassVar[str]
    is_remote: ClassVar[bool] = True

    def check(self) -> None:  # noqa: B027
        """Raise a StudyError, within ten seconds, if there are no workers to be reached."""

    @abstractmethod
    def count(self) -> int:
        """How many evaluations may run at a time."""

    @abstractmethod
    def open(self, evaluate: Evaluate) -> Pool:
        """Start a pool for this evaluation.

        Raises:
            StudyError: The workers cannot be reached, or the evaluation cannot be sent to them.
        """


@dataclass(frozen=True, kw_only=True)
class Phases:
    """An evaluation in two parts: what may run beside others, and what must run alone.

    Called, it does one after the other in the calling process, as one evaluation. An executor
    with workers sends ``together`` to them and calls ``alone`` in the driver while no worker is
    busy: a latency measured beside other work would be that of the other work.

    Args:
        together: Measures a config anywhere; must be picklable by cloudpickle.
        alone: Measures what depends on an otherwise idle machine.

    Example:
        >>> from supple.study.executors import Phases
        >>> both = Phases(together=lambda c: {"accuracy": 0.9}, alone=lambda c: {"latency": 0.5})
        >>> both({})
        ({'accuracy': 0.9, 'latency': 0.5}, {})
    """

    together: Evaluate
    alone: Evaluate

    def __call__(self, config: Config) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The values of both parts, and the details of both."""
        values, details = split_result(self.together(config))
        more, more_details = split_result(self.alone(config))
        return {**values, **more}, {**details, **more_details}


def evaluated(evaluate: Callable[[Config], Any], place: int, config: Config) -> Answer:
    """The answer of an evaluation in this process; whatever it raises is part of the answer."""
    import time
    import traceback

    begin = time.perf_counter()
    try:
        result = evaluate(config)
    except Exception:
        # The user's code may raise anything; the traceback goes with the trial.
        error, seconds = traceback.format_exc(), time.perf_counter() - begin
        return Answer(place=place, reason="raised", error=error, seconds=seconds)
    return Answer(place=place, result=result, seconds=time.perf_counter() - begin)


def whole_number(what: str, value: Any, least: int) -> None:
    """Raise a StudyError if a setting is no whole number from ``least`` up."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(
            f"an executor was given {what}={value!r}.",
            why=f"It must be a whole number from {least} up.",
            hint=f"{what}={max(least, 2)}.",
        )
