"""``local``: evaluations in the driver's own process, one at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from supple.space import Config
from supple.study._outcome import Evaluate
from supple.study.executors._executor import Answer, Executor, Pool, evaluated

__all__ = ["LocalExecutor"]


@dataclass(frozen=True, kw_only=True)
class LocalExecutor(Executor):
    """Evaluates in the driver.

    Example:
        >>> from supple.study.executors import LocalExecutor
        >>> with LocalExecutor().open(lambda config: {"loss": 1.0}) as pool:
        ...     pool.submit(0, {})
        ...     pool.next().result
        {'loss': 1.0}
    """

    name: ClassVar[str] = "local"
    is_remote: ClassVar[bool] = False

    def count(self) -> int:
        """One."""
        return 1

    def open(self, evaluate: Evaluate) -> Pool:
        """A pool that evaluates when it is asked for the next answer."""
        return _LocalPool(evaluate)


class _LocalPool(Pool):
    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._waiting: deque[tuple[int, Config]] = deque()

    def submit(self, place: int, config: Config) -> None:
        self._waiting.append((place, config))

    def next(self) -> Answer:
        return evaluated(self._evaluate, *self._waiting.popleft())

    def close(self) -> None:
        self._waiting.clear()
