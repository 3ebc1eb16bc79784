"""What a run found, as the data of ``result.json``: everything here is measured, nothing copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from supple.elastic import Extraction
from supple.elastic.importance import scorer_settings
from supple.measure import Accuracy, FileSize, MACs, Parameters, PeakMemory, machine
from supple.pipeline._objectives import COSTS
from supple.progress import Event
from supple.report import Result
from supple.space import Config
from supple.study import hypervolume_curve, reference_point

if TYPE_CHECKING:
    from supple.pipeline._run import Pick, Run

__all__ = ["result_of"]

RATIOS = ("accuracy", "latency", *COSTS)
FINAL_SECONDS = 6.0  # of timing the pick against the baseline


def result_of(
    run: Run, task: Mapping[str, Any], pick: Pick | None, *, problem: str, command: str
) -> Result:
    """Measures baseline and pick, on test data once, and collects all there is to report.

    Args:
        run: The finished search.
        task: Name, options and description.
        pick: The fine-tuned pick; None where there is none.
        problem: Why there is none although one was asked for.
        command: The command line that repeats the run.
    """
    warnings = [*run.net.notes]
    if run.data.test is None:
        warnings.append(
            "There are no test data: accuracies are on the validation data that the search used."
        )
    if run.study.note:
        warnings.append(f"The search ended early: {run.study.note}.")
    if problem:
        warnings.append(problem)
    baseline, picked = _networks(run, pick, warnings)
    status = "interrupted" if run.study.interrupted else "no-candidate" if problem else "complete"
    return Result.of(
        {
            "schema": 1,
            "supple": _version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": status,
            "task": dict(task),
            "command": command,
            "python": _python(run),
            "asked": _asked(run),
            "machine": machine(),
            "space": run.space.to_data(),
            "space_size": run.space.size,
            "structure": _structure(run),
            "directions": dict(run.study.directions),
            "units": {n: "absolute" for n in run.study.directions if n not in RATIOS},
            "trials": [_trial(trial) for trial in run.study.trials if trial.state != "running"],
            "front": [candidate.number for candidate in run.front],
            "hypervolume": _hypervolume(run),
            "baseline": baseline,
            "pick": picked,
            "cuts": _cuts(run, pick.config) if pick else [],
            "layers": _layers(run, pick.extraction) if pick else [],
            "warnings": warnings,
        }
    )


# -- baseline and pick ------------------------------------------------------------------------
def _networks(
    run: Run, pick: Pick | None, warnings: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    latency = replace(run.evaluation.latency, max_seconds=FINAL_SECONDS)
    run.progress(Event("measure", 0, 2, "timing"))
    whole = run.evaluation.deployed_baseline
    ratio = latency.compare(pick.deployed if pick else whole, whole)
    run.progress(Event("measure", 1, 2, "testing"))
    baseline = {
        **_measured(run, run.baseline, whole),
        "latency_ms": ratio.baseline_ms,
        "latency_ms_interval": list(ratio.baseline_ms_interval),
    }
    if pick is None:
        return baseline, None
    if ratio.noisy:
        warnings.append(
            f"The latency ratio is only known to be between {ratio.low:.3g} and {ratio.high:.3g}: "
            "this machine was busy. Measure again when it is idle."
        )
    has_seen_valid = run.settings.finetune is not None and run.data.finetune is not run.data.train
    picked = {
        **_measured(run, pick.network, pick.deployed),
        **({"valid_accuracy": None} if has_seen_valid else {}),
        "latency_ms": ratio.network_ms,
        "latency_ms_interval": list(ratio.network_ms_interval),
        "latency_ratio": ratio.ratio,
        "latency_ratio_interval": [ratio.low, ratio.high],
        "noisy": ratio.noisy,
        "trial": pick.candidate.number,
        "config": dict(pick.config),
        "values": dict(pick.values),
        "extracted_as": pick.extraction.kind,
        "extracted_why": pick.extraction.reason,
        "extraction_notes": [*pick.extraction.notes, *_int8_notes(run, pick)],
    }
    run.progress(Event("measure", 2, 2, "done"))
    return baseline, picked


def _int8_notes(run: Run, pick: Pick) -> list[str]:
    """How much of the pick is int8, and what int8 alone would have given, measured beside it."""
    evaluation = run.evaluation
    if evaluation.int8 is None:
        return []
    policy, whole = evaluation.int8.policy, run.net.space.largest
    quantized = evaluation.deployed(run.baseline, policy.config(whole))
    latency = replace(evaluation.latency, max_seconds=FINAL_SECONDS)
    ratio = latency.compare(quantized, evaluation.deployed_baseline)
    data = run.data.valid if run.data.test is None else run.data.test
    accuracy = Accuracy(loader=data, metric=run.data.metric).measure(quantized)
    size = FileSize().measure(quantized).value / FileSize().measure(pick.deployed).value
    layers = policy.bits(pick.config)
    return [
        f"{len(policy.int8_layers(pick.config))} of {len(layers)} layers are int8",
        f"The given network, all of it in int8, takes {ratio.ratio:.3g} "
        f"[{ratio.low:.3g}, {ratio.high:.3g}] of its time in floats, scores {accuracy.value:.4g} "
        f"and is {size:.3g} times as large as this file",
    ]


def _measured(run: Run, network: nn.Module, deployed: nn.Module) -> dict[str, Any]:
    """What is counted is of the network in floats; what it scores is of what is deployed."""
    data = run.data
    valid = Accuracy(loader=data.valid, metric=data.metric).measure(deployed)
    test = (
        valid
        if data.test is None
        else Accuracy(loader=data.test, metric=data.metric).measure(deployed)
    )
    return {
        "test_accuracy": test.value,
        "test_accuracy_interval": [test.low, test.high],
        "valid_accuracy": valid.value,
        "macs": int(MACs(example=data.example).measure(network).value),
        "params": int(Parameters().measure(network).value),
        "file_bytes": int(FileSize().measure(deployed).value),
        "peak_memory_bytes": int(
            PeakMemory(example=run.evaluation.latency.example).measure(network).value
        ),
    }


# -- the search -------------------------------------------------------------------------------
def _asked(run: Run) -> dict[str, Any]:
    settings = run.settings
    return {
        "objectives": list(run.study.directions),
        "evaluations": settings.evaluations,
        "strategy": settings.strategy,
        "seed": settings.seed,
        "pick": dict(settings.pick),
        "backend": settings.backend,
        "threads": settings.threads,
        "batch": settings.batch,
        "training": {**settings.training(), **_quantization(run)},
    }


def _quantization(run: Run) -> dict[str, Any]:
    int8 = run.evaluation.int8
    if int8 is None:
        return {}
    return {"quantize": {"layers": "int8", **asdict(int8.method)}}


def _trial(trial: Any) -> dict[str, Any]:
    details = dict(trial.details)
    if trial.error:
        details["error"] = trial.error
    return {
        "number": trial.number,
        "config": dict(trial.config),
        "values": {k: v for k, v in trial.values.items() if math.isfinite(v)},
        "details": details,
        "seconds": trial.seconds,
        "state": trial.state,
    }


def _hypervolume(run: Run) -> dict[str, Any] | None:
    complete = run.study.complete
    if not complete:
        return None
    values = [{name: trial.values[name] for name in run.study.directions} for trial in complete]
    reference = reference_point(values, run.study.directions)
    curve = hypervolume_curve(complete, run.study.directions, reference)
    return {"reference": reference, "curve": [list(point) for point in curve]}


# -- structure --------------------------------------------------------------------------------
def _structure(run: Run) -> dict[str, Any]:
    report = run.net.report().to_data()
    fixed = [{**row, "where": _short_place(row["where"])} for row in report["fixed"]]
    return {"elastic": report["elastic"], "fixed": fixed}


def _short_place(where: str) -> str:
    """``package/file.py:12: code``: the report is mailed, so it tells nothing of home folders."""
    path, colon, rest = where.partition(".py:")
    return "/".join(Path(path).parts[-2:]) + colon + rest if colon else where


def _cuts(run: Run, config: Config) -> list[dict[str, Any]]:
    dropped = run.net.dropped_blocks(run.architecture(config))
    cuts = []
    for name, choice in run.space.items():
        if run.space.is_active(name, config):
            cuts.append(
                {
                    "name": name,
                    "kind": choice.kind,
                    "kept": config[name],
                    "of": choice.size or choice.largest,
                    "dropped": dropped.get(name, []),
                }
            )
    return cuts


def _layers(run: Run, extraction: Extraction) -> list[dict[str, Any]]:
    named = extraction.network.named_parameters()
    after: dict[str, Tensor] = {extraction.original_name(name): t for name, t in named}
    sizes: dict[str, list[int]] = {}
    layers: dict[str, dict[str, Any]] = {}
    for name, weight in run.baseline.named_parameters():
        layer = name.rpartition(".")[0] or name
        kept = after.get(name)
        if layer not in layers:
            layers[layer] = {
                "name": layer,
                "before": list(weight.shape),
                "after": None if kept is None else list(kept.shape),
            }
        counts = sizes.setdefault(layer, [0, 0])
        counts[0] += weight.numel()
        counts[1] += 0 if kept is None else kept.numel()
    return [
        {**layer, "params_before": sizes[name][0], "params_after": sizes[name][1]}
        for name, layer in layers.items()
    ]


def _python(run: Run) -> str:
    """The Python that does the same."""
    settings = run.settings
    bounds = ", ".join(f"{name}={bound!r}" for name, bound in settings.pick.items())
    training = "".join(
        f"    {name}=Recipe({_arguments(recipe.to_json())}),\n"
        for name, recipe in (("recipe", settings.recipe), ("finetune", settings.finetune))
        if recipe is not None
    )
    return (
        "import supple\n"
        "from supple.elastic.training import Recipe\n\n"
        "run = supple.optimize(\n"
        "    model, train=train, valid=valid, test=test, example=example,\n"
        f"    objectives={list(run.study.directions)!r}, evaluations={settings.evaluations},\n"
        f"    strategy={settings.strategy!r}, seed={settings.seed},\n"
        f"    importance={scorer_settings(settings.importance)['name']!r}, "
        f"rule={getattr(settings.rule, 'name', 'plain')!r},\n"
        f"    backend={settings.backend!r}, threads={settings.threads}, batch={settings.batch},\n"
        f"{training}"
        f"    out={str(run.out)!r},\n"
        ")\n" + (f"run.pick({bounds}).export('small.onnx')\n" if bounds else "print(run.front)\n")
    )


def _arguments(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in data.items() if v is not None)


def _version() -> str:
    import supple

    return supple.__version__
