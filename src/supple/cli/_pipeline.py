"""All that the command line knows of the main job: how to call it, and what it gives back.

The commands call these functions only, so a change of the job's signature is a change of this
file. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import dataclasses
import importlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supple.measure._multiples import MultipleRatio
    from supple.progress import Progress
    from supple.report import Result

__all__ = [
    "Bounds",
    "Exported",
    "Request",
    "TaskRow",
    "command_line",
    "export",
    "multiples",
    "optimize",
    "remember_command",
    "self_comparison",
    "tasks",
]

Bounds = dict[str, float | str]

_command: ContextVar[str] = ContextVar("command", default="")


def remember_command(tokens: Sequence[str]) -> None:
    """Keep the words of the command, for the report to repeat."""
    _command.set(shlex.join(["supple", *tokens]))


def command_line() -> str:
    """The command as it was typed."""
    return _command.get() or shlex.join(["supple", *sys.argv[1:]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What ``supple optimize`` was asked for; each field is an option of the command."""

    task: str
    task_options: Mapping[str, str]
    out: Path
    storage: str | None
    evaluations: int
    strategy: str
    seed: int
    objectives: tuple[str, ...]
    pick: Bounds
    backend: str | None
    threads: int
    batch: int | None
    train_epochs: float | None
    finetune_epochs: float | None
    importance: str | None
    rule: str | None
    quantize: str | None
    executor: str
    workers: int | None
    ray_address: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, loaded again and compared with the network.

    Args:
        path: The file.
        text: What the comparison found, in a sentence or two.
        facts: The same as JSON-able data.
    """

    path: Path
    text: str
    facts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task that comes with supple; ``options`` holds the default of each."""

    name: str
    summary: str
    options: Mapping[str, Any]


def optimize(request: Request, progress: Progress) -> Result:
    """Run the main job."""
    job = importlib.import_module("supple.pipeline")
    asked = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    result: Result = job.run_task(
        asked.pop("task"), **asked, progress=progress, command=command_line()
    )
    return result


def export(run: Path, pick: Bounds, path: Path) -> Exported:
    """Write the pick of a run to ``path``."""
    report: Any = importlib.import_module("supple.pipeline").export_run(run, pick, path)
    facts = {key: _plain(value) for key, value in dataclasses.asdict(report).items()}
    return Exported(path=Path(report.path), text=str(report), facts=facts)


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def tasks() -> list[TaskRow]:
    """The built-in tasks."""
    room: Any = importlib.import_module("supple.tasks")
    return [
        TaskRow(name=card.name, summary=card.summary, options=dict(card.options))
        for card in room.available()
    ]


def self_comparison(rounds: int = 30) -> tuple[float, float, float]:
    """A small network timed against itself: ratio and the interval around it.

    A quiet machine gives 1 and a narrow interval; its width is what latency ratios can tell apart.
    """
    import torch
    from torch import nn

    measure: Any = importlib.import_module("supple.measure")
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
    ).eval()
    example = (torch.rand(1, 3, 32, 32, generator=generator),)
    latency = measure.Latency(example=example, backend="torch", threads=1, rounds=rounds)
    found = latency.compare(network, network)
    return float(found.ratio), float(found.low), float(found.high)


def multiples() -> list[MultipleRatio]:
    """How much widths beside multiples of 2, 4, 8 and 16 cost on this machine."""
    room: Any = importlib.import_module("supple.measure._multiples")
    found: list[MultipleRatio] = room.measure_multiples()
    return found
