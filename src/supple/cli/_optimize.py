"""``supple optimize TASK``: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from supple.cli import _pipeline
from supple.cli._bounds import parse_bound, parse_pairs
from supple.cli._exit import Exit
from supple.cli._options import MACHINES, MEASURE, SEARCH, TRAINING, AsJson, Quiet, bound, pairs
from supple.cli._progress import shown_progress

if TYPE_CHECKING:
    from supple.report import Result

__all__ = ["optimize"]

_DEFAULT_PICK: _pipeline.Bounds = {"latency": 0.5}

Positive = Number(gte=1)
NotNegative = Number(gte=0)


def optimize(
    task: str,
    /,
    *,
    model: str | None = None,
    option: Annotated[list[str] | None, Parameter(validator=pairs, negative=())] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    latency: Annotated[str | None, bound("latency")] = None,
    accuracy: Annotated[str | None, bound("accuracy")] = None,
    macs: Annotated[str | None, bound("macs")] = None,
    evaluations: Annotated[int, Parameter(group=SEARCH, validator=Positive)] = 200,
    strategy: Annotated[str, Parameter(group=SEARCH)] = "gp_ehvi",
    objectives: Annotated[str, Parameter(group=SEARCH)] = "accuracy,latency",
    seed: Annotated[int, Parameter(group=SEARCH, validator=NotNegative)] = 0,
    storage: Annotated[str | None, Parameter(group=SEARCH)] = None,
    train_epochs: Annotated[float | None, Parameter(group=TRAINING, validator=NotNegative)] = None,
    finetune_epochs: Annotated[
        float | None, Parameter(group=TRAINING, validator=NotNegative)
    ] = None,
    importance: Annotated[str | None, Parameter(group=TRAINING)] = None,
    rule: Annotated[str | None, Parameter(group=TRAINING)] = None,
    backend: Annotated[Literal["torch", "onnxruntime"] | None, Parameter(group=MEASURE)] = None,
    threads: Annotated[int, Parameter(group=MEASURE, validator=Positive)] = 1,
    batch: Annotated[int | None, Parameter(group=MEASURE, validator=Positive)] = None,
    quantize: Annotated[Literal["int8"] | None, Parameter(group=SEARCH)] = None,
    executor: Annotated[Literal["local", "process", "ray"], Parameter(group=MACHINES)] = "local",
    workers: Annotated[int | None, Parameter(group=MACHINES, validator=Positive)] = None,
    ray_address: Annotated[str | None, Parameter(group=MACHINES)] = None,
    quiet: Quiet = False,
    json: AsJson = False,
) -> int:
    """Find a smaller network for a task that is fast on this machine.

    Makes the task's model elastic, trains it, searches its sub-networks, trains the one that is
    picked, measures it beside the given network and writes a report. Stopped at any moment, the
    same command goes on where it was.

    Parameters
    ----------
    task
        A built-in task (see: supple tasks), or a file of your own: my_task.py[:object].
    model
        Which model of the task, such as resnet56.
    option
        Another option of the task, as name=value; may be given several times.
    out
        The folder of the run. Default: runs/TASK, or runs/TASK-MODEL.
    latency
        At most this latency: a part of the baseline's (0.5) or absolute (2ms). The default is
        0.5 where no bound is given.
    accuracy
        At least this validation accuracy: 0.98 or 98%.
    macs
        At most these multiply-adds: a part of the baseline's (0.5) or absolute (40M).
    evaluations
        How many sub-networks to evaluate.
    strategy
        gp_ehvi, linas, nsga2, random, or the name of an Optuna sampler.
    objectives
        What the front is about, joined by commas.
    seed
        Start of all random draws.
    storage
        Where the study is kept, as a database URL such as postgresql+psycopg://user@host/name.
        Default: a SQLite file in the run's folder.
    train_epochs
        Epochs of training the elastic network. Default: what the task says.
    finetune_epochs
        Epochs of training the pick at the end. Default: what the task says.
    importance
        What decides which channels a narrower network keeps: taylor, magnitude, fisher, hessian,
        activation, batch_norm_scale or random. Default: what the task says, else taylor.
    rule
        The training rule of the elastic network, such as sandwich. Default: what the task says.
    backend
        What runs the networks when latency is measured. Default: onnxruntime where installed.
    threads
        Threads of the measured networks.
    batch
        Examples in a measured batch. Default: what the task's example has.
    quantize
        Also decide for every layer whether it computes in int8: "int8". Needs ONNX Runtime.
    executor
        Where sub-networks are measured: in this process (local), in processes of this machine
        (process), or on a Ray cluster (ray). Latency is measured here, while they wait.
    workers
        How many are measured at a time. Default: one per core, or per CPU of the cluster.
    ray_address
        The cluster, as host:6379 or ray://host:10001. Default: Ray is started on this machine.
    quiet
        Show no progress.
    json
        Print the result as one JSON object.
    """
    given = {"latency": latency, "accuracy": accuracy, "macs": macs}
    pick = {name: parse_bound(name, text) for name, text in given.items() if text is not None}
    options = dict(parse_pairs(option or []))
    if model is not None:
        options["model"] = model
    request = _pipeline.Request(
        task=task,
        task_options=options,
        out=out or Path("runs") / _run_name(task, model),
        storage=storage,
        evaluations=evaluations,
        strategy=strategy,
        seed=seed,
        objectives=tuple(part.strip() for part in objectives.split(",") if part.strip()),
        pick=pick or dict(_DEFAULT_PICK),
        backend=backend,
        threads=threads,
        batch=batch,
        train_epochs=train_epochs,
        finetune_epochs=finetune_epochs,
        importance=importance,
        rule=rule,
        quantize=quantize,
        executor=executor,
        workers=workers,
        ray_address=ray_address,
    )
    with shown_progress(sys.stderr, quiet=quiet) as progress:
        result = _pipeline.optimize(request, progress)
    _show(result, request.out, json)
    return _exit_code(result)


def _run_name(task: str, model: str | None) -> str:
    """The name of the run: the task's, or that of its file, with the model's."""
    name = Path(task.partition(":")[0]).stem
    return f"{name}-{model}" if model else name


def _show(result: Result, run: Path, json: bool) -> None:
    from supple.cli._summary import print_json, print_summary, summary_data

    if json:
        print_json(summary_data(result, run))
        return
    from rich.console import Console

    print_summary(result, run, Console(highlight=False))


def _exit_code(result: Result) -> Exit:
    if result.status == "interrupted":
        return Exit.INTERRUPTED
    return Exit.OK if result.status == "complete" else Exit.NO_CANDIDATE
