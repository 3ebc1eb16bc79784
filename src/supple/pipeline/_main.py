"""`optimize`: the rooms of supple called in order."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import nn

from supple.elastic import Elastic, Elasticity
from supple.elastic._inputs import resize_batch
from supple.elastic.importance import Scorer
from supple.elastic.importance import scorer as scorer_by_name
from supple.elastic.training import Distil, Recipe, Rule, TrainingProgress, rule_by_name
from supple.elastic.training import train as train_network
from supple.errors import DataError, NoCandidateError
from supple.measure import Accuracy, Latency, Measure
from supple.pipeline._int8 import Int8, check_quantize
from supple.pipeline._objectives import Evaluation, objective_directions
from supple.pipeline._remote import split
from supple.pipeline._result import result_of
from supple.pipeline._run import Data, Run
from supple.pipeline._settings import Settings, claim_folder, distillation
from supple.progress import Event, Progress
from supple.report import write_report
from supple.search import strategy as strategy_by_name
from supple.space import Config, Space
from supple.study import Executor, Study, check_storage
from supple.study import executor as executor_by_name

__all__ = [
    "default_backend",
    "find_workers",
    "optimize",
    "prepare_run",
    "search_and_report",
]

SEARCH_SECONDS = 0.6  # of timing for each candidate; the result is timed for longer


def optimize(
    model: nn.Module,
    *,
    train: Iterable[Any],
    valid: Iterable[Any],
    example: Any,
    test: Iterable[Any] | None = None,
    loss: Callable[[Any, Any], Any] = F.cross_entropy,
    metric: Callable[[Any, Any], Any] | None = None,
    objectives: Sequence[str | Measure] = ("accuracy", "latency"),
    evaluations: int = 200,
    strategy: str = "gp_ehvi",
    strategy_settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    importance: Scorer | str = "taylor",
    rule: Rule | str = "super_plus_random",
    recipe: Recipe | None = None,
    finetune: Recipe | None = None,
    distil: float | Distil = 0.5,
    calibration_batches: int = 8,
    backend: str | None = None,
    threads: int = 1,
    batch: int | None = None,
    elasticity: Elasticity | None = None,
    pick: Mapping[str, float | str] | None = None,
    quantize: str | None = None,
    out: str | Path = "runs/run",
    storage: str | None = None,
    executor: str | Executor = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Finds a smaller network that runs faster here.

    Makes the model elastic, stores its indices by importance, trains all sub-networks on shared
    weights, searches them on this machine, and, where a bound is given, trains the pick, tests it
    once beside the model and writes a report. Stopped at any moment, the same call goes on.

    Args:
        model: The network, trained; it is not changed.
        train: Batches ``(inputs, targets)``, iterated again and again.
        valid: Batches by which sub-networks are compared.
        example: Inputs of one call: a tuple of arguments or a dict by name.
        test: Batches for the result; neither training nor search sees them.
        loss: ``loss(outputs, targets)``.
        metric: ``metric(outputs, targets)``, a score per sample; None for top-1 accuracy.
        objectives: ``accuracy``, ``latency``, ``macs``, ``params``, ``memory``, ``file_size``, or
            `Measure` objects. Costs are ratios to the model's.
        evaluations: Sub-networks to measure, those of an earlier, interrupted call included.
        strategy: ``gp_ehvi``, ``linas``, ``nsga2``, ``random``, or the name of an Optuna sampler.
        strategy_settings: Settings of the strategy.
        seed: Start of all random draws.
        importance: What decides which indices a narrower sub-network keeps: the name of a scorer
            (``taylor``, ``magnitude``, ``fisher``, …; see `supple.elastic.importance`), or one.
        rule: Training rule of the elastic network, or its name.
        recipe: How it is trained; None does not train it.
        finetune: How the pick is trained; None does not.
        distil: Share of the model's own outputs in the loss of the pick, 0 to 1; or a `Distil`
            with all its settings.
        calibration_batches: Training batches for batch norm and importance.
        backend: ``torch`` or ``onnxruntime``; None takes ONNX Runtime where it is installed.
        threads: Threads of one timed call.
        batch: Samples in one timed call; None for as many as the example has.
        elasticity: How far and how finely the model may vary.
        pick: Bounds, for instance ``{"latency": 0.5}``; None stops after the search.
        quantize: ``"int8"`` makes the bits of each layer, 8 or 32, a choice too, computed by ONNX
            Runtime; None for floats alone.
        out: Folder of the run: study, weights, result, report.
        storage: URL of the study; None for a SQLite file in ``out``.
        executor: Where sub-networks are measured: ``local``, ``process``, ``ray``, or an
            `Executor`. Latency is always measured here, while no worker is busy.
        workers: How many are measured at a time; None for one per core, or per CPU of the cluster.
        ray_address: Address of a Ray cluster; None starts Ray on this machine.
        progress: Called with an `Event` now and then.

    Returns:
        The run: ``run.front``, ``run.pick(latency=0.5).export("small.onnx")``.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from supple.elastic.training import Batches
        >>> x = torch.randn(64, 8)
        >>> data = Batches(x, (x[:, 0] > 0).long(), batch_size=32)
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> run = optimize(model, train=data, valid=data, example=(x[:2],), evaluations=3,
        ...                objectives=["accuracy", "macs"], strategy="random",
        ...                out=tempfile.mkdtemp())
        >>> len(run.study.complete)
        3
    """
    objective_directions(objectives)
    where = find_workers(executor, workers, ray_address, storage)
    check_quantize(quantize, backend or default_backend())
    settings = Settings(
        objectives=tuple(o if isinstance(o, str) else o.name for o in objectives),
        evaluations=evaluations,
        strategy=strategy,
        strategy_settings=dict(strategy_settings or {}),
        seed=seed,
        importance=importance,
        rule=rule_by_name(rule) if isinstance(rule, str) else rule,
        recipe=recipe,
        finetune=finetune,
        distil=distillation(distil),
        calibration_batches=calibration_batches,
        backend=backend or default_backend(),
        threads=threads,
        batch=batch,
        elasticity=elasticity or Elasticity(),
        pick=dict(pick or {}),
        quantize=quantize,
    )
    example = example if isinstance(example, (tuple, list, Mapping)) else (example,)
    data = Data(
        train=train,
        valid=valid,
        test=test,
        finetune=train,
        example=example,
        loss=loss,
        metric=metric,
    )
    task = {"name": type(model).__name__, "options": {}}
    claim_folder(Path(out), task, settings)
    run = prepare_run(model, data, settings, objectives, Path(out), progress or _silent, storage)
    return search_and_report(run, task, command="", executor=where, progress=progress or _silent)


def find_workers(
    name: str | Executor, workers: int | None, address: str | None, storage: str | None
) -> Executor:
    """The executor, once it and the storage were seen to answer: before hours of training."""
    found = executor_by_name(name, workers=workers, address=address)
    found.check()
    check_storage(storage)
    return found


def default_backend() -> str:
    """ONNX Runtime where it can be used, else torch."""
    has_all = all(importlib.util.find_spec(n) for n in ("onnx", "onnxruntime", "onnxscript"))
    return "onnxruntime" if has_all else "torch"


def prepare_run(
    model: nn.Module,
    data: Data,
    settings: Settings,
    objectives: Sequence[str | Measure],
    out: Path,
    progress: Progress,
    storage: str | None,
) -> Run:
    """Everything up to the search: the trained elastic network, the measures and the study."""
    baseline = model.eval()
    progress(Event("trace", 0, 1, "making the network elastic"))
    net = Elastic(baseline, data.example, settings.elasticity)
    progress(Event("trace", 1, 1, f"{len(net.space)} choices"))
    calibration = list(islice(data.train, settings.calibration_batches))
    if not calibration:
        raise DataError(
            "the training data is empty.", hint="pass a loader that gives at least one batch."
        )
    _train(net, data, settings, calibration, out, progress)
    timed = data.example if settings.batch is None else resize_batch(data.example, settings.batch)
    evaluation = Evaluation(
        net=net.eval(),
        baseline=baseline,
        objectives=objectives,
        accuracy=Accuracy(loader=data.valid, metric=data.metric),
        latency=Latency(
            example=timed,
            backend=settings.backend,
            threads=settings.threads,
            max_seconds=SEARCH_SECONDS,
            seed=settings.seed,
        ),
        example=data.example,
        calibration=calibration,
        int8=Int8.of(net, data.example, threads=settings.threads) if settings.quantize else None,
    )
    study = Study.open(
        storage or out / "study.db",
        space=evaluation.space,
        directions=objective_directions(objectives),
        fingerprint=settings.identity(),
    )
    return Run(
        net=net,
        baseline=baseline,
        study=study,
        out=out,
        data=data,
        settings=settings,
        evaluation=evaluation,
        progress=progress,
    )


def _train(
    net: Elastic,
    data: Data,
    settings: Settings,
    calibration: Sequence[Any],
    out: Path,
    progress: Progress,
) -> None:
    """Orders the indices by importance and trains all sub-networks; done once per run."""
    weights = out / "weights.safetensors"
    if weights.exists():
        net.load(weights)
        return
    progress(Event("train", 0, None, "ordering by importance"))
    net.reorder(_scorer(settings, calibration, data))
    if settings.recipe is not None:

        def tell(now: TrainingProgress) -> None:
            message = "training all sub-networks"
            progress(Event("train", now.step, now.steps, message, {"loss": now.loss}))

        train_network(
            net,
            data.train,
            data.loss,
            settings.rule,
            settings.recipe,
            seed=settings.seed,
            progress=tell,
            checkpoint=out / "training.ckpt",
        )
    net.save(weights)
    (out / "training.ckpt").unlink(missing_ok=True)


def _scorer(settings: Settings, calibration: Sequence[Any], data: Data) -> Scorer:
    """What the indices are ordered by; a name is given the calibration data."""
    chosen = settings.importance
    if not isinstance(chosen, str):
        return chosen
    return scorer_by_name(chosen, batches=calibration, loss=data.loss, seed=settings.seed)


def search_and_report(
    run: Run, task: Mapping[str, Any], *, command: str, executor: Executor, progress: Progress
) -> Run:
    """The search, the pick, its test, and the report."""
    settings = run.settings
    sampler = strategy_by_name(
        settings.strategy,
        space=run.space,
        directions=run.study.directions,
        seed=settings.seed,
        **_strategy_settings(run),
    )
    run.study.run(
        split(run.evaluation) if executor.is_remote else run.evaluation,
        sampler,
        evaluations=settings.evaluations,
        executor=executor,
        progress=progress,
    )
    picked, problem = None, ""
    if settings.pick and not run.study.interrupted:
        try:
            picked = run.pick(**settings.pick)
        except NoCandidateError as error:
            problem = str(error)
    run.result = result_of(run, task, picked, problem=problem, command=command)
    run.result.save(run.out)
    progress(Event("report", 0, 1, "writing the report"))
    write_report(run.result, run.out / "report.html")
    progress(Event("report", 1, 1, str(run.out / "report.html")))
    return run


def _strategy_settings(run: Run) -> dict[str, Any]:
    """The user's settings; for supple's own strategies batches that suit a short search."""
    settings = run.settings
    if settings.strategy not in ("gp_ehvi", "linas", "nsga2", "random"):
        return dict(settings.strategy_settings)
    sizes = {"population": min(50, max(8, settings.evaluations // 6))}
    steps = min(8, max(3, settings.evaluations // 20))
    if settings.strategy == "gp_ehvi":  # its first batch spans the space, and models come early
        sizes = {"population": min(20, sizes["population"])}
        sizes["later"] = min(10, max(4, settings.evaluations // 12))
        steps = min(3, max(1, settings.evaluations // 40))
    start = anchors(run.space, steps=steps)
    if run.evaluation.int8 is not None:
        # The whole network in int8: what one would do without a search.
        start = (start[0], run.evaluation.int8.policy.config(run.net.space.largest), *start[1:])
    return {
        **sizes,
        "start": tuple(dict.fromkeys(start)),
        **settings.strategy_settings,
    }


def anchors(space: Space, *, steps: int) -> tuple[Config, ...]:
    """Configs worth knowing in any space: all axes cut alike, only depths, only widths.

    Random configs of a large space are all middling; these span it from end to end.

    Args:
        space: The space.
        steps: How many ratios, evenly from the whole to a quarter.
    """
    found = [space.largest]
    for step in range(1, steps + 1):
        even = space.at_ratio(1 - 0.75 * step / steps)
        depths = {n: even[n] for n, choice in space.items() if choice.kind == "depth"}
        widths = {n: even[n] for n, choice in space.items() if choice.kind == "width"}
        found += [even, space.canonical({**space.largest, **depths})]
        found += [space.canonical({**space.largest, **widths})]
    return tuple(dict.fromkeys([*found, space.smallest]))


def _silent(event: Event) -> None:
    """Nobody listens."""
