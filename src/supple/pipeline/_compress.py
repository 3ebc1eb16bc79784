"""A recipe carried out on a task: compressed, measured beside the given network, exported."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from supple.compress.quantize.onnx_export import export_onnx
from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.recipe import Compressed, CompressionRecipe, compress
from supple.elastic.training import Recipe
from supple.errors import StudyError
from supple.measure import Accuracy, FileSize, Latency, MACs, Parameters, PeakMemory, machine
from supple.pipeline._settings import distillation
from supple.pipeline._task import _absolute, _example, _model, _recipe
from supple.progress import Event, Progress
from supple.report import Result, write_report
from supple.report._files import write_whole
from supple.tasks import Task, load

__all__ = ["compress_task"]

FILE = "small.onnx"
RECIPE = "recipe.json"
SECONDS = 6.0  # of timing the two networks


def compress_task(
    task: str,
    recipe: CompressionRecipe | str,
    *,
    out: Path,
    task_options: Mapping[str, Any] | None = None,
    finetune_epochs: float | None = None,
    seed: int = 0,
    threads: int = 1,
    batch: int | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """Carries out a recipe, measures, exports and writes the report.

    The folder holds afterwards ``small.onnx``, ``recipe.json``, ``result.json`` and
    ``report.html``. The network is tested once, on data that nothing was chosen by.

    Args:
        task: A built-in task, or ``path/to/file.py[:object]``.
        recipe: The steps, or their text; see `supple.compress.recipe`.
        out: Folder to write to; files of an earlier call are replaced.
        task_options: Options of the task.
        finetune_epochs: Epochs of training behind the last cut; None for what the task recommends,
            0 for none.
        seed: Start of all random draws.
        threads: Threads of one timed call.
        batch: Samples in one timed call; None for what the task recommends.
        progress: Called with an `Event` now and then.
        command: The command line, for the report to repeat.

    Raises:
        SuppleError: Anything the user can mend.
    """
    tell = progress or _silent
    asked = CompressionRecipe.parse(recipe) if isinstance(recipe, str) else recipe
    loaded, began, out = load(task, **(task_options or {})), time.perf_counter(), Path(out)
    _claim(out)
    model = _model(loaded, out, tell).eval()
    example = _example(loaded.example())
    training = _recipe(loaded.defaults.get("finetune"), finetune_epochs, epochs=10)
    small = _compressed(loaded, model, asked, example, training, seed, threads, tell)
    tell(Event("export", 0, 1, FILE))
    metadata = {"recipe": asked.to_data(), "task": _absolute(task)}
    exported = export_onnx(small.deployed, out / FILE, metadata=metadata)
    tell(Event("measure", 0, 1, "timing and testing"))
    measured = _measured(loaded, model, small, example, threads, batch)
    facts = {
        "asked": {
            "objectives": ["accuracy", "latency"], "evaluations": 1, "strategy": "recipe",
            "seed": seed, "backend": "onnxruntime", "threads": threads, "batch": batch,
            "training": {
                "recipe": str(asked), "finetune": training.to_json() if training else None,
            },
        },
        "task": {
            "name": loaded.name, "options": dict(loaded.options),
            "description": loaded.description,
        },
        "command": command,
        "warnings": [f"Recipe {asked}.", *small.notes, str(exported).replace("\n  ", " ")],
        "seconds": {"total": time.perf_counter() - began},
    }  # fmt: skip
    result = _result(facts, measured)
    request = {"task": _absolute(task), "task_options": dict(task_options or {}),
               "recipe": asked.to_data()}  # fmt: skip
    write_whole(out / RECIPE, json.dumps(request, indent=1) + "\n")
    result.save(out)
    write_report(result, out / "report.html")
    tell(Event("report", 1, 1, str(out / "report.html")))
    return result


def _claim(out: Path) -> None:
    """Makes the folder, or finds that it holds no search."""
    if (out / "study.db").exists():
        raise StudyError(
            f"{out} holds a run of supple optimize.",
            why="Its result would be replaced by that of the recipe.",
            hint="another folder with --out.",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"the folder {out} cannot be made: {error.strerror or error}.",
            hint="another folder with --out.",
        ) from error


def _compressed(
    task: Task,
    model: nn.Module,
    recipe: CompressionRecipe,
    example: Any,
    training: Recipe | None,
    seed: int,
    threads: int,
    tell: Progress,
) -> Compressed:
    def told(now: Any) -> None:
        tell(Event("finetune", now.step, now.steps, "training", {"loss": now.loss}))

    return compress(
        model, recipe, example=example, train_data=task.train(), loss=task.loss,
        finetune=training, rule=distillation(task.defaults.get("distil", 0.5)), seed=seed,
        threads=threads, progress=told,
    )  # fmt: skip


def _measured(
    task: Task,
    model: nn.Module,
    small: Compressed,
    example: Any,
    threads: int,
    batch: int | None,
) -> dict[str, Any]:
    """Both networks as files of ONNX Runtime: accuracy, time in turns, counts, bytes."""
    from supple.elastic._call import batch_of

    before = OnnxNetwork(record(model, example), threads=threads)
    size = batch or task.defaults.get("latency_batch")
    timed = example if size is None else batch_of(example, size, seed=0)
    latency = Latency(example=timed, backend="onnxruntime", threads=threads, max_seconds=SECONDS)
    ratio = latency.compare(small.deployed, before)
    return {
        "baseline": {
            **_network(task, model, before, example),
            "latency_ms": ratio.baseline_ms,
            "latency_ms_interval": list(ratio.baseline_ms_interval),
        },
        "pick": {
            **_network(task, small.network, small.deployed, example),
            "latency_ms": ratio.network_ms,
            "latency_ms_interval": list(ratio.network_ms_interval),
            "latency_ratio": ratio.ratio,
            "latency_ratio_interval": [ratio.low, ratio.high],
            "noisy": ratio.noisy,
        },
    }


def _network(task: Task, network: nn.Module, deployed: OnnxNetwork, example: Any) -> dict[str, Any]:
    valid = Accuracy(loader=task.valid(), metric=task.metric).measure(deployed)
    test = (
        valid if task.test is None
        else Accuracy(loader=task.test(), metric=task.metric).measure(deployed)
    )  # fmt: skip
    return {
        "test_accuracy": test.value,
        "test_accuracy_interval": [test.low, test.high],
        "valid_accuracy": valid.value,
        "macs": int(MACs(example=example).measure(network).value),
        "params": int(Parameters().measure(network).value),
        "file_bytes": int(FileSize().measure(deployed).value),
        "peak_memory_bytes": int(PeakMemory(example=example).measure(network).value),
    }


def _result(facts: Mapping[str, Any], measured: Mapping[str, Any]) -> Result:
    """The result in the form that every command and the report read."""
    pick = {
        **measured["pick"], "trial": 0, "config": {}, "extracted_as": "native",
        "extracted_why": "it was made by a recipe, without a search",
        "extraction_notes": list(facts["warnings"]),
    }  # fmt: skip
    values = {"accuracy": pick["valid_accuracy"], "latency": pick["latency_ratio"]}
    return Result.of(
        {
            "schema": 1,
            "supple": _version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "task": facts["task"],
            "command": facts["command"],
            "asked": facts["asked"],
            "machine": machine(),
            "space_size": 1,
            "directions": {"accuracy": "max", "latency": "min"},
            "trials": [{"number": 0, "config": {}, "values": values}],
            "front": [0],
            "baseline": measured["baseline"],
            "pick": pick,
            "seconds": facts["seconds"],
            "warnings": [],
        }
    )


def _version() -> str:
    import supple

    return supple.__version__


def _silent(event: Event) -> None:
    del event
