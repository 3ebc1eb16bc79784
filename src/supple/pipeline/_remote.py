"""The part of an evaluation that runs in workers: all but what needs a quiet machine.

A worker gets the model that was brought, the data and the trained weights, and makes the same
elastic network of them, once. Everything is measured with one thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from supple.elastic import Elastic
from supple.measure import Latency, Measure
from supple.measure._threads import torch_threads
from supple.pipeline._objectives import Evaluation
from supple.space import Config
from supple.study import Phases
from supple.study._outcome import Evaluate

__all__ = ["Remote", "runs_alone", "split"]


def runs_alone(objective: str | Measure) -> bool:
    """Whether an objective is a time, which other work on the machine would change.

    A measure of your own that is one says so: ``runs_alone = True``.
    """
    if isinstance(objective, str):
        return objective == "latency"
    return bool(getattr(objective, "runs_alone", isinstance(objective, Latency)))


def split(evaluation: Evaluation) -> Evaluate:
    """An evaluation as what workers do and, where a time is measured, the driver does alone."""
    together = [o for o in evaluation.objectives if not runs_alone(o)]
    alone = [o for o in evaluation.objectives if runs_alone(o)]
    remote = Remote.of(evaluation, together)
    return Phases(together=remote, alone=evaluation.only(alone)) if alone else remote


@dataclass(kw_only=True)
class Remote:
    """An evaluation that is made in the worker, at its first call.

    Attributes:
        model: The model that was brought.
        weights: The file of the elastic network's weights.
        settings: All of `Evaluation` but the network.
        elasticity: How the model was made elastic, and on which example.
    """

    model: nn.Module
    weights: bytes = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    elasticity: tuple[Any, Any]
    _evaluation: Evaluation | None = None

    @classmethod
    def of(cls, evaluation: Evaluation, objectives: Sequence[str | Measure]) -> Remote:
        """What a worker needs to measure these objectives."""
        net = evaluation.net
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            net.save(path)
            weights = path.read_bytes()
        settings = {**evaluation.settings(), "objectives": tuple(objectives)}
        elasticity = (evaluation.example, net.elasticity)
        return cls(
            model=evaluation.baseline, weights=weights, settings=settings, elasticity=elasticity
        )

    def __call__(self, config: Config) -> tuple[dict[str, float], dict[str, Any]]:
        """The values of a config, measured in this process with one thread."""
        with torch_threads(1):
            if self._evaluation is None:
                self._evaluation = self._made()
            return self._evaluation(config)

    def _made(self) -> Evaluation:
        example, elasticity = self.elasticity
        net = Elastic(self.model, example, elasticity)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            path.write_bytes(self.weights)
            net.load(path)
        return Evaluation(net=net.eval(), baseline=self.model, **self.settings)
