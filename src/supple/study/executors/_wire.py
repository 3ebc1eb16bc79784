"""How a driver and its own workers talk: pickles through pipes, never through files.

cloudpickle sends functions of a script or a notebook by value, so a worker need not import the
driver's script; nor a file that was loaded by its path, as a user's task file is.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import cloudpickle

from supple.errors import StudyError

__all__ = ["import_path", "packed", "receive", "send", "unpacked"]


def packed(evaluate: Any) -> bytes:
    """An evaluation as bytes for a worker.

    Raises:
        StudyError: It holds something that cannot be sent, such as an open file or a lock.
    """
    try:
        with ExitStack() as stack:
            for module in _loaded_by_path():
                stack.enter_context(_by_value(module))
            data: bytes = cloudpickle.dumps(evaluate)
    except Exception as problem:
        raise StudyError(
            "the evaluation cannot be sent to workers.",
            why=f"{type(problem).__name__}: {problem}.",
            hint='use the executor "local", or leave out of model, data and metric what belongs '
            "to this process: open files, locks, threads, connections.",
        ) from problem
    return data


def unpacked(data: bytes) -> Any:
    """What ``packed`` packed, in a worker of the same driver."""
    return pickle.loads(data)


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message to a pipe."""
    stream.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Wait for one message of a pipe.

    Raises:
        EOFError: The other side is gone.
    """
    try:
        return pickle.load(stream)
    except (pickle.UnpicklingError, OSError, ValueError) as problem:
        # A process that was killed while it wrote leaves half a message.
        raise EOFError(str(problem)) from None


def import_path() -> list[str]:
    """Where a worker imports from: where the driver does, and beside files loaded by path."""
    folders = [str(Path(str(module.__file__)).parent) for module in _loaded_by_path()]
    return list(dict.fromkeys([*sys.path, *folders]))


def _loaded_by_path() -> list[ModuleType]:
    """Modules that another process could not import by their name."""
    return [
        module
        for module in list(sys.modules.values())
        if "." not in (name := getattr(module, "__name__", ""))
        and name not in ("", "__main__")
        and str(getattr(module, "__file__", None) or "").endswith(".py")
        and PathFinder.find_spec(name) is None
    ]


@contextmanager
def _by_value(module: ModuleType) -> Iterator[None]:
    if module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
