"""The main job on a task by name, and exporting from a finished run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from supple.elastic import Elasticity
from supple.elastic._call import input_arguments
from supple.elastic.export import ExportReport
from supple.elastic.training import Recipe, rule_by_name
from supple.errors import StudyError
from supple.pipeline._int8 import check_quantize
from supple.pipeline._main import (
    default_backend,
    find_workers,
    prepare_run,
    search_and_report,
)
from supple.pipeline._run import Data, Run
from supple.pipeline._settings import Settings, claim_folder, distillation
from supple.progress import Event, Progress
from supple.report import Result
from supple.report._files import write_whole
from supple.tasks import Task, load

__all__ = ["export_run", "run_task"]

REQUEST = "request.json"


def run_task(
    task: str,
    *,
    task_options: Mapping[str, Any] | None = None,
    out: Path,
    storage: str | None = None,
    evaluations: int = 200,
    strategy: str = "gp_ehvi",
    seed: int = 0,
    objectives: tuple[str, ...] = ("accuracy", "latency"),
    pick: Mapping[str, float | str] | None = None,
    backend: str | None = None,
    threads: int = 1,
    batch: int | None = None,
    train_epochs: float | None = None,
    finetune_epochs: float | None = None,
    importance: str | None = None,
    rule: str | None = None,
    quantize: str | None = None,
    executor: str = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """The main job on a task.

    Args:
        task: A built-in task, or ``path/to/file.py[:object]``.
        task_options: Options of the task.
        out: Folder of the run.
        storage: URL of the study; None for a SQLite file in ``out``.
        evaluations: Sub-networks to measure.
        strategy: Name of the search strategy.
        seed: Start of all random draws.
        objectives: Names of the objectives.
        pick: Bounds of the pick.
        backend: What runs timed networks; None takes ONNX Runtime where it is installed.
        threads: Threads of one timed call.
        batch: Samples in one timed call; None for what the task recommends.
        train_epochs: Epochs of elastic training; None for what the task recommends, 0 for none.
        finetune_epochs: The same for the pick.
        importance: What indices are ordered by; None for what the task recommends.
        rule: Training rule; None for what the task recommends.
        quantize: ``"int8"`` makes the bits of each layer a choice too.
        executor: Where sub-networks are measured: ``local``, ``process`` or ``ray``.
        workers: How many are measured at a time; None for one per core or CPU.
        ray_address: Address of a Ray cluster; None starts Ray on this machine.
        progress: Called with an `Event` now and then.
        command: The command line, for the report to repeat.

    Raises:
        SuppleError: Anything the user can mend; what was measured so far is kept.
    """
    out = Path(out)
    request = {
        "task": _absolute(task),
        "task_options": dict(task_options or {}),
        "storage": storage,
        "evaluations": evaluations,
        "strategy": strategy,
        "seed": seed,
        "objectives": list(objectives),
        "pick": dict(pick or {}),
        "backend": backend or default_backend(),
        "threads": threads,
        "batch": batch,
        "train_epochs": train_epochs,
        "finetune_epochs": finetune_epochs,
        "importance": importance,
        "rule": rule,
        "quantize": quantize,
    }
    where = find_workers(executor, workers, ray_address, storage)
    check_quantize(quantize, backend or default_backend())
    loaded = load(task, **(task_options or {}))
    run = _open(loaded, request, out, progress or _silent)
    write_whole(out / REQUEST, json.dumps(request, indent=1) + "\n")
    facts = {
        "name": loaded.name,
        "options": dict(loaded.options),
        "description": loaded.description,
    }
    search_and_report(run, facts, command=command, executor=where, progress=progress or _silent)
    assert run.result is not None
    return run.result


def _open(task: Task, request: Mapping[str, Any], out: Path, progress: Progress) -> Run:
    """Everything up to the search; for a finished run this reads what is there."""
    settings = _settings(task, request)
    claim_folder(out, {"name": task.name, "options": dict(task.options)}, settings)
    data = Data(
        train=task.train(),
        valid=task.valid(),
        test=None if task.test is None else task.test(),
        finetune=(task.train_on_all or task.train)(),
        example=_example(task.example()),
        loss=task.loss,
        metric=task.metric,
    )
    model = _model(task, out, progress)
    storage = request["storage"]
    return prepare_run(model, data, settings, settings.objectives, out, progress, storage)


def _settings(task: Task, request: Mapping[str, Any]) -> Settings:
    """What was asked for, and where nothing was, what the task recommends."""
    defaults = dict(task.defaults)
    rule = request["rule"]
    return Settings(
        objectives=tuple(request["objectives"]),
        evaluations=request["evaluations"],
        strategy=request["strategy"],
        seed=request["seed"],
        importance=request.get("importance") or defaults.get("importance", "taylor"),
        rule=rule_by_name(
            rule or defaults.get("rule", "super_plus_random"),
            **(defaults.get("rule_settings", {}) if rule is None else {}),
        ),
        recipe=_recipe(defaults.get("recipe"), request["train_epochs"], epochs=5),
        finetune=_recipe(defaults.get("finetune"), request["finetune_epochs"], epochs=10),
        distil=distillation(defaults.get("distil", 0.5)),
        calibration_batches=int(defaults.get("calibration_batches", 8)),
        backend=request["backend"],
        threads=request["threads"],
        batch=request["batch"] or defaults.get("latency_batch"),
        elasticity=Elasticity(**defaults.get("elasticity", {})),
        pick=dict(request["pick"]),
        quantize=request.get("quantize"),
    )


def _model(task: Task, out: Path, progress: Progress) -> nn.Module:
    """The original network; where it is trained on the spot, that is done once per run."""
    progress(Event("prepare", 0, None, "loading the network and its data"))
    if task.prepare is not None:
        task.prepare(progress=progress)
    if task.untrained is None or task.pretrain is None:
        return task.model()
    network = task.untrained()
    task.pretrain(network, progress=progress, checkpoint=out / "baseline.ckpt")
    return network


def _recipe(
    recommended: Mapping[str, Any] | None, asked: float | None, *, epochs: float
) -> Recipe | None:
    settings = {"epochs": epochs, "lr": 0.01, **(recommended or {})}
    if asked is not None:
        settings["epochs"] = asked
    return Recipe(**settings) if settings["epochs"] else None


def _absolute(task: str) -> str:
    """The task as it can be loaded from any folder."""
    path, colon, name = task.partition(".py")
    return f"{Path(path).absolute()}{colon}{name}" if colon else task


def export_run(run: Path, pick: Mapping[str, float | str], path: Path) -> ExportReport:
    """Writes a pick of a finished run to a file.

    Args:
        run: Folder of the run.
        pick: Bounds; empty for the pick of the run.
        path: ``.onnx``, ``.pt2`` or ``.safetensors``.

    Raises:
        StudyError: The run was made from Python, so its model is not known here.
        NoCandidateError: Nobody meets the bounds.
    """
    Result.load(run)  # says clearly what is wrong with a folder that holds no finished run
    path_of_request = Path(run) / REQUEST
    if (Path(run) / "recipe.json").exists():
        raise StudyError(
            f"{run} was made by supple compress, which has written its file already.",
            hint=f"{Path(run) / 'small.onnx'}.",
        )
    if not path_of_request.exists():
        raise StudyError(
            f"the run {run} was made from Python, so its model is not known to the command line.",
            hint="run = supple.optimize(…) with the same out; run.pick(…).export(path).",
        )
    request = json.loads(path_of_request.read_text())
    task = load(request["task"], **request["task_options"])
    opened = _open(task, request, Path(run), _silent)
    return opened.pick(**(dict(pick) or request["pick"])).export(path)


def _example(example: Any) -> Any:
    """A bare tensor as the one positional argument it is."""
    args, kwargs = input_arguments(example)
    return kwargs or args


def _silent(event: Event) -> None:
    """Nobody listens."""
