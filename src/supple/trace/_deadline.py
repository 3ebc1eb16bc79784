"""A time limit for tracing a model: whatever takes longer ends in one clear error.

The clock is asked at every torch call of the exporter and at every step of the analysis, so that
a loop without end inside ``forward`` is caught as well as a graph that is too large.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from supple.errors import TraceError
from supple.trace._places import user_line

__all__ = [
    "OutOfTime",
    "check_time",
    "is_over",
    "is_time_for_as_much",
    "limited_calls",
    "time_limit",
]


class OutOfTime(Exception):
    """The limit has passed; `time_limit` turns it into an error for the user.

    Args:
        where: What was being worked on; empty if the traceback says it.
    """

    def __init__(self, where: str = "") -> None:
        super().__init__(where)
        self.where = where


@dataclass
class _Limit:
    """When tracing has to be done; it is raised once, since cleaning up calls torch too."""

    seconds: float
    until: float
    is_over: bool = False


_LIMIT: ContextVar[_Limit | None] = ContextVar("supple_time_limit", default=None)


def is_over() -> bool:
    """`check_time` has raised, whatever became of the exception."""
    limit = _LIMIT.get()
    return limit is not None and limit.is_over


def is_time_for_as_much() -> bool:
    """What has been done until now could be done once more within the limit."""
    limit = _LIMIT.get()
    return limit is None or limit.until - time.monotonic() > limit.seconds / 2


def check_time(where: Callable[[], str] | None = None) -> None:
    """Raises OutOfTime, once, after the limit has passed.

    Args:
        where: Says what is being worked on, where the traceback does not.
    """
    limit = _LIMIT.get()
    if limit is not None and not limit.is_over and time.monotonic() > limit.until:
        limit.is_over = True
        raise OutOfTime(where() if where else "")


class _Clock(TorchFunctionMode):
    """Asks the clock at every call of torch."""

    def __init__(self, limit: _Limit) -> None:
        super().__init__()
        self._limit = limit

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        is_late = time.monotonic() > self._limit.until
        if is_late and func is not torch._C._set_grad_enabled:
            check_time()
        return func(*args, **kwargs) if kwargs else func(*args)


@contextmanager
def limited_calls() -> Iterator[None]:
    """Inside, every call of torch asks the clock, where there is a limit."""
    limit = _LIMIT.get()
    if limit is None:
        yield
        return
    with _Clock(limit):
        yield


@contextmanager
def time_limit(seconds: float | None, subject: str) -> Iterator[None]:
    """Inside, `check_time` knows when to stop.

    Args:
        seconds: How long it may take; None for any time.
        subject: What is traced, for the error.

    Raises:
        TraceError: It took longer; the error names the line of the model that was being traced.
    """
    limit = None if seconds is None else _Limit(seconds, time.monotonic() + seconds)
    token = _LIMIT.set(limit)
    try:
        yield
    except OutOfTime as error:
        place = error.where or user_line(error)
        raise TraceError(
            f"tracing {subject} took longer than {seconds:g} s.",
            why=f"It was at {place}." if place else "Its graph is too large for that.",
            hint="pass a smaller example or a part of the model; where it only needs longer, "
            "Elastic(…, time_limit_s=None) waits.",
            where=place,
        ) from error
    finally:
        _LIMIT.reset(token)
