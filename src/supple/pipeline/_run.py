"""A finished search: its front, and the pick as a network that is trained, measured, exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from supple.compress.quantize.onnx_export import export_onnx
from supple.compress.quantize.onnx_graph import OnnxNetwork
from supple.elastic import Elastic, Extraction
from supple.elastic.batch_norm import recalibrate
from supple.elastic.export import ExportReport, export
from supple.elastic.training import Plain, TrainingProgress, train
from supple.pipeline._objectives import Evaluation
from supple.pipeline._settings import Settings
from supple.progress import Event, Progress
from supple.report import Result
from supple.space import Config, Space
from supple.study import Bound, Candidate, Front, Study

__all__ = ["Data", "Pick", "Run"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of a run.

    Args:
        train: Training batches, for the elastic network.
        valid: Batches by which sub-networks are compared.
        test: Batches for the result only; None if there are none.
        finetune: Batches to train the pick on.
        example: Inputs of one call.
        loss: ``loss(outputs, targets)``.
        metric: ``metric(outputs, targets)``; None for top-1 accuracy.
    """

    train: Iterable[Any]
    valid: Iterable[Any]
    test: Iterable[Any] | None
    finetune: Iterable[Any]
    example: Any
    loss: Callable[[Any, Any], Any]
    metric: Callable[[Any, Any], Any] | None


@dataclass(kw_only=True)
class Run:
    """What `optimize` returns.

    Attributes:
        net: The trained elastic network.
        baseline: The network that was brought.
        study: All trials.
        out: The folder of the run.
        result: What was found, as data; also in ``result.json``.
    """

    net: Elastic
    baseline: nn.Module
    study: Study
    out: Path
    data: Data
    settings: Settings
    evaluation: Evaluation
    progress: Progress
    result: Result | None = None
    _picks: dict[str, Pick] = field(default_factory=dict, repr=False)

    @property
    def space(self) -> Space:
        """The space that was searched: of sub-networks, and of their layers' bits if asked for."""
        return self.evaluation.space

    def architecture(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of a config that says which sub-network it is."""
        int8 = self.evaluation.int8
        return config if int8 is None else int8.policy.architecture(config)

    @property
    def front(self) -> Front:
        """The candidates that no other one beats."""
        return self.study.front

    def candidate(self, **bounds: float | str | Bound) -> Candidate:
        """The best candidate that meets the bounds, without training it further.

        Raises:
            NoCandidateError: Nobody meets them; the closest is named.
        """
        limits: dict[str, Any] = dict(bounds)
        trials = [trial.to_candidate() for trial in self.study.complete]
        return Front(trials, self.study.directions).pick(**limits)

    def pick(self, **bounds: float | str | Bound) -> Pick:
        """The best candidate that meets the bounds, fine-tuned.

        Args:
            **bounds: By objective: a ratio to the baseline (``latency=0.5``), an amount
                (``latency="2ms"``, ``macs="5M"``) or a least accuracy (``accuracy=0.98``).

        Raises:
            NoCandidateError: Nobody meets them; the closest is named.
        """
        candidate = self.candidate(**bounds)
        key = candidate.config.id
        if key not in self._picks:
            self._picks[key] = Pick(self, candidate, self._finetuned(candidate))
        return self._picks[key]

    def _finetuned(self, candidate: Candidate) -> Extraction:
        """The candidate's network after its last training; a repeated call reads it again."""
        architecture = self.architecture(candidate.config)
        extraction = self.net.extraction(architecture)
        network = extraction.network
        settings = self.settings
        recalibrate(network, self.evaluation.calibration)
        if settings.finetune is None:
            network.eval()
            return extraction
        digest = hashlib.sha256(
            json.dumps([Config(architecture).id, settings.training()], sort_keys=True).encode()
        ).hexdigest()[:12]

        def tell(now: TrainingProgress) -> None:
            self.progress(
                Event("finetune", now.step, now.steps, "training the pick", {"loss": now.loss})
            )

        train(
            network,
            self.data.finetune,
            self.data.loss,
            settings.distil or Plain(),
            settings.finetune,
            teacher=self.baseline if settings.distil else None,
            seed=settings.seed,
            progress=tell,
            checkpoint=self.out / f"pick-{digest}.ckpt",
        )
        recalibrate(network, self.evaluation.calibration)
        network.eval()
        return extraction


class Pick:
    """A picked sub-network, fine-tuned.

    Attributes:
        candidate: Its trial.
        config: Its config.
        network: A plain module in evaluation mode, in floats.
        deployed: What is measured and exported: the network itself, or with int8 layers the
            graph that ONNX Runtime runs.
        extraction: The same, with what it is made of (the model's own classes or its graph).
    """

    def __init__(self, run: Run, candidate: Candidate, extraction: Extraction) -> None:
        self.candidate = candidate
        self.config = candidate.config
        self.network = extraction.network
        self.extraction = extraction
        self.deployed = run.evaluation.deployed(self.network, self.config)
        self._run = run

    @property
    def values(self) -> Mapping[str, float]:
        """What the search measured, before fine-tuning."""
        return self.candidate.values

    def export(self, path: str | Path) -> ExportReport:
        """Writes ``.onnx``, ``.pt2`` or ``.safetensors``, reads it back and compares.

        A pick of a run with ``quantize`` is written as ``.onnx``.

        Raises:
            ExportError: The file does not equal the network, or the format is unknown.
        """
        metadata = {"space": self._run.space.id, "trial": self.candidate.number}
        if isinstance(self.deployed, OnnxNetwork):
            return export_onnx(self.deployed, path, config=dict(self.config), metadata=metadata)
        return export(
            self.network,
            path,
            self._run.data.example,
            config=dict(self.config),
            metadata=metadata,
            check_batches=(1, 2, 5) if self._run.net.batch_size is None else (),
        )
