"""Executors by name, with the settings of the command line."""

from __future__ import annotations

from supple.errors import StudyError, near_misses
from supple.study.executors._executor import Executor
from supple.study.executors.local import LocalExecutor
from supple.study.executors.process import ProcessExecutor
from supple.study.executors.ray import RayExecutor

__all__ = ["executor", "executor_names"]


def executor_names() -> tuple[str, ...]:
    """The names that ``executor`` knows."""
    return LocalExecutor.name, ProcessExecutor.name, RayExecutor.name


def executor(
    name: str | Executor = "local",
    *,
    workers: int | None = None,
    address: str | None = None,
) -> Executor:
    """The executor of this name.

    Args:
        name: ``local``, ``process`` or ``ray``; an Executor is returned as it is.
        workers: How many evaluations run at a time; None for one per core (``process``) or per
            CPU of the cluster (``ray``).
        address: Of a running Ray cluster, ``host:port`` or ``ray://host:port``; None starts one
            on this machine.

    Raises:
        StudyError: For an unknown name, or settings that the executor does not have.

    Example:
        >>> executor("process", workers=4)
        ProcessExecutor(workers=4, retries=3)
    """
    if isinstance(name, Executor):
        return name
    if name not in executor_names():
        raise StudyError(
            f"there is no executor {name!r}.", hint=near_misses(str(name), executor_names())
        )
    if address is not None and name != RayExecutor.name:
        raise StudyError(
            f"a Ray address was given to the executor '{name}'.", hint='use the executor "ray".'
        )
    if name == ProcessExecutor.name:
        return ProcessExecutor(workers=workers)
    if name == RayExecutor.name:
        return RayExecutor(workers=workers, address=address)
    if workers not in (None, 1):
        raise StudyError(
            f"{workers} workers were asked of the executor 'local'.",
            why="It evaluates in the driver itself, one config at a time.",
            hint='use the executor "process", or "ray" for several machines.',
        )
    return LocalExecutor()
