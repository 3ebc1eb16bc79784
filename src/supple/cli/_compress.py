"""``supple compress TASK``: a recipe instead of a search."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from supple.cli._bounds import parse_pairs
from supple.cli._exit import Exit
from supple.cli._options import MEASURE, TRAINING, AsJson, Quiet, pairs
from supple.cli._pipeline import command_line
from supple.cli._progress import shown_progress

if TYPE_CHECKING:
    from supple.report import Result

__all__ = ["compress"]

Positive = Number(gte=1)
NotNegative = Number(gte=0)


def compress(
    task: str,
    /,
    *,
    recipe: str,
    model: str | None = None,
    option: Annotated[list[str] | None, Parameter(validator=pairs, negative=())] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    finetune_epochs: Annotated[
        float | None, Parameter(group=TRAINING, validator=NotNegative)
    ] = None,
    seed: Annotated[int, Parameter(group=TRAINING, validator=NotNegative)] = 0,
    threads: Annotated[int, Parameter(group=MEASURE, validator=Positive)] = 1,
    batch: Annotated[int | None, Parameter(group=MEASURE, validator=Positive)] = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> int:
    """Make the network of a task smaller by a recipe, without a search.

    Carries out the steps, trains behind the last cut, measures the result beside the given network
    in ONNX Runtime and writes small.onnx, result.json and report.html.

    Parameters
    ----------
    task
        A built-in task (see: supple tasks), or a file of your own: my_task.py[:object].
    recipe
        Steps joined by commas: prune=0.5 (cut half of the parameters), sparse=0.9 or sparse=2:4
        (zeros), then one of int8 (computed in integers) and bits=4 (smaller on disk only).
    model
        Which model of the task, such as resnet56.
    option
        Another option of the task, as name=value; may be given several times.
    out
        The folder to write to. Default: runs/TASK-compressed.
    finetune_epochs
        Epochs of training behind the last cut, 0 for none. Default: what the task says.
    seed
        Start of all random draws.
    threads
        Threads of the measured networks.
    batch
        Examples in a measured batch. Default: what the task's example has.
    quiet
        Show no progress.
    json
        Print the result as one JSON object.
    """
    options = dict(parse_pairs(option or []))
    if model is not None:
        options["model"] = model
    folder = out or Path("runs") / _name(task, model)
    job: Any = importlib.import_module("supple.pipeline._compress")
    with shown_progress(sys.stderr, quiet=quiet) as progress:
        result = job.compress_task(
            task, recipe, out=folder, task_options=options, finetune_epochs=finetune_epochs,
            seed=seed, threads=threads, batch=batch, progress=progress, command=command_line(),
        )  # fmt: skip
    _show(result, folder, json)
    return Exit.OK


def _name(task: str, model: str | None) -> str:
    stem = Path(task.partition(":")[0]).stem
    return "-".join(part for part in (stem, model, "compressed") if part)


def _show(result: Result, folder: Path, json: bool) -> None:
    from supple.cli._summary import print_json, print_summary, summary_data

    if json:
        print_json(summary_data(result, folder))
        return
    from rich.console import Console

    print_summary(result, folder, Console(highlight=False))
