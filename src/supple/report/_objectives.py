"""How each objective is named, printed and found again in the measured networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supple.report._numbers import filesize, milliseconds, percent, plain, quantity, ratio
from supple.report._result import Direction, NetworkResult, PickResult, Result

__all__ = ["Objective", "cost", "objective", "quality"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """An objective as the report shows it.

    Args:
        name: Its key in ``directions`` and in the values of a trial.
        label: What people call it.
        direction: "min" or "max".
        show: Value to text with unit.
        scale: Factor from the stored value to the plotted one (100 for a fraction in percent).
        unit: Unit of the plotted value, empty for a plain number.
        field: The field of :class:`NetworkResult` that holds it, if one does.
        is_relative: Whether values are parts of the baseline's.
    """

    name: str
    label: str
    direction: Direction
    show: Callable[[float], str] = plain
    scale: float = 1.0
    unit: str = ""
    field: str | None = None
    is_relative: bool = False

    def of(self, network: NetworkResult, baseline: NetworkResult) -> float | None:
        """This objective of a measured network, in the unit of the trials; ``None``: unknown."""
        measured = self._measured_at_the_end(network, baseline)
        return network.values.get(self.name) if measured is None else measured

    def said(self, value: float) -> str:
        """A value in words: "98.1 % validation accuracy", "0.43 of the baseline's latency"."""
        if self.is_relative:
            return f"{self.show(value)} of the baseline's {self.label}"
        return f"{self.show(value)} {self.label}"

    def _measured_at_the_end(self, network: NetworkResult, baseline: NetworkResult) -> float | None:
        if self.is_relative and self.field == "latency_ms" and isinstance(network, PickResult):
            # Measured by turns with the baseline, better than the quotient of two medians.
            return network.latency_ratio
        measured, full = self._measured(network), self._measured(baseline)
        if not self.is_relative or measured is None:
            return measured
        return measured / full if full else None

    def _measured(self, network: NetworkResult) -> float | None:
        value = getattr(network, self.field) if self.field else None
        return None if value is None else float(value)

    @property
    def axis_title(self) -> str:
        """The title of a plot's axis: label and unit."""
        if self.is_relative:
            return f"{self.label} relative to the baseline"
        return f"{self.label} ({self.unit})" if self.unit else self.label


# name -> label, printer, unit, field
_KNOWN: dict[str, tuple[str, Callable[[float], str], str, str]] = {
    "latency": ("latency", milliseconds, "ms", "latency_ms"),
    "macs": ("multiply-adds", quantity, "", "macs"),
    "params": ("parameters", quantity, "", "params"),
    "parameters": ("parameters", quantity, "", "params"),
    "file_size": ("file size", filesize, "B", "file_bytes"),
    "file_bytes": ("file size", filesize, "B", "file_bytes"),
    "memory": ("peak memory", filesize, "B", "peak_memory_bytes"),
    "peak_memory": ("peak memory", filesize, "B", "peak_memory_bytes"),
}


def objective(result: Result, name: str) -> Objective:
    """The objective called ``name`` in this run."""
    direction = result.directions[name]
    metric = result.task.metric
    if name in ("accuracy", metric.name):
        return Objective(
            name=name,
            label=f"validation {metric.name}",
            direction=direction,
            show=percent if metric.is_fraction else plain,
            scale=100.0 if metric.is_fraction else 1.0,
            unit="%" if metric.is_fraction else "",
            field="valid_accuracy",
        )
    if name not in _KNOWN:
        return Objective(name=name, label=name.replace("_", " "), direction=direction)
    label, show, unit, field = _KNOWN[name]
    if result.units.get(name, "ratio") == "ratio":
        return Objective(
            name=name,
            label=label,
            direction=direction,
            show=ratio,
            field=field,
            is_relative=True,
        )
    return Objective(name=name, label=label, direction=direction, show=show, unit=unit, field=field)


def quality(result: Result) -> Objective:
    """The objective drawn upwards: the task's metric, else what is to grow, else the first."""
    names = list(result.directions)
    metric = [name for name in names if name in ("accuracy", result.task.metric.name)]
    growing = [name for name in names if result.directions[name] == "max"]
    return objective(result, (metric + growing + names)[0])


def cost(result: Result) -> Objective | None:
    """The objective drawn to the right: latency, else the next one; ``None`` if there is one."""
    taken = quality(result).name
    names = [name for name in result.directions if name != taken]
    if not names:
        return None
    return objective(result, "latency" if "latency" in names else names[0])
