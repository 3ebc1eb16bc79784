"""A network made ready to be timed, and the backends that make it so.

A backend is a module ``_NAME_backend.py`` beside this file with a function
``prepare(network, example, threads, seed) -> Runner``; nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from supple.elastic._call import Network
from supple.errors import MeasureError, near_misses

__all__ = ["Runner", "known_backends", "prepare"]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One network, ready to run on inputs of its own.

    Attributes:
        run: Runs the network once, waiting for the result.
        during: What must surround the runs (mode, threads), entered once per timing.
        backend: The backend's name.
        threads: Threads one run may use.
        batch: Samples in one run.
        details: What else the backend tells, JSON-able.
    """

    run: Callable[[], object] = field(repr=False)
    during: Callable[[], AbstractContextManager[object]] = field(repr=False)
    backend: str
    threads: int
    batch: int
    details: Mapping[str, Any] = field(default_factory=dict)


def known_backends() -> list[str]:
    """The names of all backends, installed or not."""
    files = Path(__file__).parent.glob("_*_backend.py")
    return sorted(file.stem.removeprefix("_").removesuffix("_backend") for file in files)


def check_backend(name: str) -> None:
    """Raises MeasureError with the near misses for a name that is no backend's."""
    if name not in known_backends():
        raise MeasureError(
            f"Latency backend '{name}' was asked for, which is unknown.",
            hint=near_misses(name, known_backends()),
            known=tuple(known_backends()),
        )


def prepare(backend: str, network: Network, example: Any, threads: int, seed: int) -> Runner:
    """Makes ``network`` ready in ``backend``."""
    check_backend(backend)
    module = import_module(f"supple.measure._{backend}_backend")
    runner = module.prepare(network, example, threads=threads, seed=seed)
    assert isinstance(runner, Runner)
    return runner
