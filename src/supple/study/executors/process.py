"""``process``: evaluations in worker processes of this machine.

Each worker is a fresh Python process that a thread of the driver talks to through pipes. A worker
that dies (killed, out of memory) is replaced and its config evaluated again; a driver that dies
takes its workers with it, because their pipes close.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from supple.errors import StudyError
from supple.space import Config
from supple.study._outcome import Evaluate
from supple.study.executors._executor import Answer, Executor, Pool, whole_number
from supple.study.executors._wire import import_path, packed, receive, send

__all__ = ["ProcessExecutor"]

PROGRAM = Path(__file__).with_name("_worker.py")
# One thread each, whatever the number of workers: sums then do not depend on it.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# So many workers in a row that end before they are ready mean that none ever will be.
STILLBORN = 20


@dataclass(frozen=True, kw_only=True)
class ProcessExecutor(Executor):
    """Evaluates in processes of this machine, each with one thread.

    Args:
        workers: How many processes; None for one per core that this process may use.
        retries: How often a config is evaluated again whose worker died. After that its trial
            fails: it is likely the config that kills them, by the memory it takes for instance.

    Example:
        >>> from supple.study.executors import ProcessExecutor
        >>> with ProcessExecutor(workers=1).open(lambda config: {"loss": config["a"] / 2}) as pool:
        ...     pool.submit(0, {"a": 3})
        ...     pool.next().result
        {'loss': 1.5}
    """

    name: ClassVar[str] = "process"

    workers: int | None = None
    retries: int = 3

    def __post_init__(self) -> None:
        if self.workers is not None:
            whole_number("workers", self.workers, 1)
        whole_number("retries", self.retries, 0)

    def count(self) -> int:
        """The processes that may run at a time."""
        return self.workers or _cores()

    def open(self, evaluate: Evaluate) -> Pool:
        """A pool whose processes start with their first tasks."""
        return _ProcessPool(packed(evaluate), self.count(), self.retries)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _ProcessPool(Pool):
    """One thread per worker; all take from one queue of tasks and give to one of answers."""

    def __init__(self, data: bytes, workers: int, retries: int) -> None:
        self._data, self._retries = data, retries
        self._tasks: queue.SimpleQueue[tuple[int, Config] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer | StudyError] = queue.SimpleQueue()
        self._workers: dict[int, _Worker] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, args=(index,), daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, place: int, config: Config) -> None:
        self._tasks.put((place, config))

    def next(self) -> Answer:
        answer = self._answers.get()
        if isinstance(answer, StudyError):
            raise answer
        return answer

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for worker in self._workers.values():
                worker.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def process_ids(self) -> list[int]:
        """The processes that are alive now."""
        with self._lock:
            return [w.pid for w in self._workers.values() if w.is_alive]

    # In the threads

    def _serve(self, index: int) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closed:
            try:
                self._answers.put(self._answer(index, *task))
            except StudyError as problem:
                self._answers.put(problem)
            except _Closed:
                break
        with self._lock:
            worker = self._workers.pop(index, None)
        if worker is not None:
            worker.end()

    def _answer(self, index: int, place: int, config: Config) -> Answer:
        ends: list[str] = []
        while len(ends) <= self._retries:
            worker = self._ready(index)
            try:
                kind, what, seconds = worker.ask(config)
            except EOFError:
                ends.append(worker.end())
                continue
            if kind == "done":
                return Answer(place=place, result=what, seconds=seconds)
            return Answer(place=place, reason="raised", error=what, seconds=seconds)
        error = f"the worker of this config died {len(ends)} times: {', '.join(ends)}"
        return Answer(place=place, reason="lost", error=error)

    def _ready(self, index: int) -> _Worker:
        """The worker of this thread, started if there is none alive."""
        worker = self._workers.get(index)
        ends: list[str] = []
        while worker is None or not worker.is_alive:
            worker = self._started(index)
            try:
                worker.begin(self._data)
            except EOFError:
                ends.append(worker.end())
                if len(ends) == STILLBORN:
                    raise _none_starts(ends) from None
        return worker

    def _started(self, index: int) -> _Worker:
        with self._lock:
            if self._is_closed:
                raise _Closed
            worker = self._workers[index] = _Worker.start()
        return worker


class _Closed(Exception):
    """The pool was closed while a worker was to be started."""


class _Worker:
    """One process and its pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._tasks, self._answers = process.stdin, process.stdout

    @classmethod
    def start(cls) -> Self:
        # Not on the driver's path; in a process group of its own, so that Ctrl-C is the driver's.
        command = [sys.executable, "-P", str(PROGRAM)]
        own_group = {"process_group": 0} if sys.platform != "win32" else {}
        return cls(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **ONE_THREAD},
                **own_group,  # type: ignore[call-overload]
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, data: bytes) -> None:
        """Send the evaluation; StudyError if the worker cannot load it, EOFError if it dies."""
        kind, what = self._asked((import_path(), data))
        if kind == "refused":
            self.end()
            raise StudyError(
                f"a worker cannot load the evaluation:\n{what}",
                why="It imports in the worker what it was made of in the driver.",
                hint="install it where workers import from, or define it in the script itself.",
            )

    def ask(self, config: Config) -> Any:
        return self._asked(config)

    def _asked(self, message: Any) -> Any:
        try:
            send(self._tasks, message)
        except OSError as problem:
            raise EOFError(str(problem)) from None
        return receive(self._answers)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()

    def end(self) -> str:
        """Make sure that it is gone; how it ended, in words."""
        self.kill()
        code = self._process.wait()
        for pipe in (self._tasks, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        if code < 0:
            with contextlib.suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit status {code}"


def _none_starts(ends: list[str]) -> StudyError:
    return StudyError(
        f"{len(ends)} worker processes in a row ended before they were ready ({ends[-1]}).",
        why="Likely the machine has no room for another process.",
        hint="use fewer workers, and see what the workers wrote to stderr.",
    )
