"""Progress of a long job: bars on a terminal, a few plain lines elsewhere, always on stderr.

The results go to stdout, so that they can be piped while the progress is still seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from supple.progress import Event, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Bars", "Lines", "shown_progress"]

_LABELS = {
    "prepare": "Preparing data and model",
    "trace": "Tracing the model",
    "train": "Training the elastic network",
    "search": "Searching sub-networks",
    "finetune": "Training the pick",
    "measure": "Measuring baseline and pick",
    "export": "Exporting",
    "report": "Writing the report",
}


@contextmanager
def shown_progress(stream: TextIO, *, quiet: bool = False) -> Iterator[Progress]:
    """The callback to give to the job, alive inside the ``with`` block."""
    if quiet:
        yield lambda event: None
    elif stream.isatty():
        from rich.console import Console

        bars = Bars(Console(file=stream))
        with bars.progress:
            yield bars
    else:
        yield Lines(stream)


class Bars:
    """One bar for each stage; finished stages stay and show how long they took."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        note = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.progress: RichProgress = RichProgress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            # What is left while it runs, what it took once it is done.
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=note),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.stage not in self._tasks:
            # What a stage began before this one is over, whether or not it said so.
            for task in self.progress.tasks:
                self.progress.update(
                    task.id, total=task.completed or 1, completed=task.completed or 1
                )
            label = _LABELS.get(event.stage, event.stage)
            self._tasks[event.stage] = self.progress.add_task(label, total=event.total, note="")
        self.progress.update(
            self._tasks[event.stage],
            completed=event.done,
            total=event.total,
            note=_note(event),
        )


class Lines:
    """Plain lines: the start and the end of each stage, and now and then one between.

    Args:
        stream: Where to print.
        every: Seconds that pass at least between two lines of a stage.
        clock: Seconds that only grow.
    """

    def __init__(
        self, stream: TextIO, *, every: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._every = every
        self._clock = clock
        self._stage = ""
        self._last = 0.0
        self._is_closed = False

    def __call__(self, event: Event) -> None:
        """Print one event, if it is worth a line."""
        is_new = event.stage != self._stage
        now = self._clock()
        is_end = event.is_finished and (is_new or not self._is_closed)
        if not (is_new or is_end or now - self._last >= self._every):
            return
        self._stage, self._last, self._is_closed = event.stage, now, event.is_finished
        label = _LABELS.get(event.stage, event.stage)
        count = f" {event.done}/{event.total}" if event.total else ""
        note = _note(event)
        print(f"{label}{count}{': ' + note if note else ''}", file=self._stream, flush=True)


def _note(event: Event) -> str:
    values = (f"{name} {value:.4g}" for name, value in event.values.items())
    return ", ".join(part for part in (event.message, *values) if part)
