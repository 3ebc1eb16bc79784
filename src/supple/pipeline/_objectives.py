"""What a candidate is measured on while the search runs.

Every cost is the ratio to the baseline (0.5: half of it), so that a bound means the same on every
machine; the absolute figures go with the trial as details, under the name and the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

from torch import nn

from supple.elastic import Elastic
from supple.elastic.batch_norm import recalibrate
from supple.errors import SearchError, near_misses
from supple.measure import (
    Accuracy,
    FileSize,
    Latency,
    MACs,
    Measure,
    Parameters,
    PeakMemory,
    Runner,
)
from supple.pipeline._int8 import Int8
from supple.space import Config, Space

__all__ = ["COSTS", "Evaluation", "objective_directions"]

COSTS: dict[str, tuple[str, Callable[[Any], Measure]]] = {
    "macs": ("count", lambda example: MACs(example=example)),
    "params": ("count", lambda example: Parameters()),
    "memory": ("bytes", lambda example: PeakMemory(example=example)),
    "file_size": ("bytes", lambda example: FileSize()),
}
"""Costs other than latency: the unit of the absolute figure and the measure."""

_ALWAYS = ("macs", "params")  # exact and cheap, so every trial has them


def objective_directions(objectives: Sequence[str | Measure]) -> dict[str, str]:
    """``"min"`` or ``"max"`` for each objective, by name.

    Raises:
        SearchError: An objective is unknown or named twice.
    """
    known = ["accuracy", "latency", *COSTS]
    directions: dict[str, str] = {}
    for objective in objectives:
        name = objective if isinstance(objective, str) else objective.name
        if isinstance(objective, str) and objective not in known:
            raise SearchError(
                f"there is no objective '{objective}'.",
                why=f"Known are {', '.join(known)}; a Measure object may be one too.",
                hint=near_misses(objective, known),
            )
        if name in directions:
            raise SearchError(f"the objective '{name}' is named twice.", hint="name it once.")
        if isinstance(objective, str):
            directions[name] = "max" if name == "accuracy" else "min"
        else:
            directions[name] = objective.direction
    if not directions:
        raise SearchError(
            "there is no objective to search for.", hint='objectives=["accuracy", "latency"]'
        )
    return directions


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures a config: extracts it, recalibrates its batch norms, measures each objective.

    Args:
        net: The trained elastic network.
        baseline: The network that was brought.
        objectives: Names or measures.
        accuracy: The task's metric on validation data.
        latency: How latency is measured.
        example: Inputs for the counts, one batch.
        calibration: Training batches for batch norm and for the ranges of int8.
        int8: Which layers of a config are int8; None where all compute in floats.
        has_counts: Whether exact costs are told besides the objectives.
    """

    net: Elastic
    baseline: nn.Module
    objectives: Sequence[str | Measure]
    accuracy: Accuracy
    latency: Latency
    example: Any
    calibration: Iterable[Any]
    int8: Int8 | None = None
    has_counts: bool = True

    @property
    def space(self) -> Space:
        """The space of its configs: of sub-networks, or of these and the bits of their layers."""
        return self.net.space if self.int8 is None else self.int8.policy.space

    def only(self, objectives: Sequence[str | Measure]) -> Self:
        """The same for some of the objectives, and nothing besides."""
        return replace(self, objectives=tuple(objectives), has_counts=False)

    def settings(self) -> dict[str, Any]:
        """All that this was made of, but the networks."""
        names = [f.name for f in fields(self) if f.name not in ("net", "baseline")]
        return {name: getattr(self, name) for name in names}

    def network(self, config: Mapping[str, Any]) -> nn.Module:
        """The sub-network of a config as a module of its own, in floats."""
        architecture = config if self.int8 is None else self.int8.policy.architecture(config)
        # The graph is quicker to take out; the pick alone becomes a model of its own classes.
        network = self.net.extract(architecture, prefer="graph").eval()
        recalibrate(network, self.calibration)
        return network

    def deployed(self, network: nn.Module, config: Mapping[str, Any] | None) -> nn.Module:
        """A network as it will run: with the int8 layers of the config; None for no such layer."""
        if self.int8 is None:
            return network
        layers = () if config is None else self.int8.policy.int8_layers(config)
        return self.int8.deployed(network, self.example, layers, self.calibration)

    @cached_property
    def deployed_baseline(self) -> nn.Module:
        """The baseline as it runs, in floats."""
        return self.deployed(self.baseline, None)

    @cached_property
    def baseline_runner(self) -> Runner:
        """The baseline, prepared once to be timed."""
        return self.latency.runner(self.deployed_baseline)

    @cached_property
    def baseline_costs(self) -> dict[str, float]:
        """The exact costs of the baseline."""
        return {
            name: self.count(name, self.baseline, self.deployed_baseline) for name in self._costs()
        }

    def __call__(self, config: Config) -> tuple[dict[str, float], dict[str, Any]]:
        """The values of a config by name, and the details behind them."""
        network = self.network(config)
        deployed = self.deployed(network, config)
        values: dict[str, float] = {}
        details: dict[str, Any] = {}
        for objective in self.objectives:
            self._measure(objective, deployed, values, details)
        for name in self._costs():
            count = self.count(name, network, deployed)
            values[name] = count / max(self.baseline_costs[name], 1.0)
            details[f"{name}_{COSTS[name][0]}"] = count
        return values, details

    def _costs(self) -> list[str]:
        named = [o for o in self.objectives if isinstance(o, str) and o in COSTS]
        return list(dict.fromkeys([*named, *(_ALWAYS if self.has_counts else ())]))

    def count(self, name: str, network: nn.Module, deployed: nn.Module) -> float:
        """An exact cost: of the file as it is deployed, all else of the network in floats."""
        counted = deployed if name == "file_size" else network
        return COSTS[name][1](self.example).measure(counted).value

    def _measure(
        self,
        objective: str | Measure,
        network: nn.Module,
        values: dict[str, float],
        details: dict[str, Any],
    ) -> None:
        if objective == "latency":
            ratio = self.latency.compare_runners(self.latency.runner(network), self.baseline_runner)
            values["latency"] = ratio.ratio
            details["latency_interval"] = [ratio.low, ratio.high]
            details["latency_ms"] = ratio.network_ms
            details["latency_noisy"] = ratio.noisy
        elif objective == "accuracy" or not isinstance(objective, str):
            measure: Measure = self.accuracy if isinstance(objective, str) else objective
            found = measure.measure(network)
            name = "accuracy" if isinstance(objective, str) else objective.name
            values[name] = found.value
            details[f"{name}_interval"] = [found.low, found.high]
