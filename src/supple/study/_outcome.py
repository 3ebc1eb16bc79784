"""What an evaluation gave, checked and made plain, so that it can be stored as JSON."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from supple.errors import MeasureError, near_misses
from supple.space import Config

__all__ = ["Evaluate", "Outcome", "checked_outcome", "part_of_outcome", "plain", "split_result"]

Evaluate = Callable[[Config], "Mapping[str, Any] | tuple[Mapping[str, Any], Mapping[str, Any]]"]
"""Measures a config: gives values by name, or a pair of values and details."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Values (objectives first, then whatever else is a finite number) and details."""

    values: dict[str, float]
    details: dict[str, Any]


def checked_outcome(result: Any, objectives: Iterable[str]) -> Outcome:
    """The outcome in what an evaluation returned.

    Raises:
        MeasureError: If an objective is missing, not a number, NaN or infinite.
    """
    values, details = split_result(result)
    return _checked(values, details, objectives)


def part_of_outcome(result: Any, objectives: Iterable[str]) -> Outcome:
    """The same of a part of an evaluation, which need not have all objectives.

    Raises:
        MeasureError: If an objective that is there is not a number, NaN or infinite.
    """
    values, details = split_result(result)
    return _checked(values, details, [name for name in objectives if name in values])


def _checked(
    values: Mapping[str, Any], details: Mapping[str, Any], objectives: Iterable[str]
) -> Outcome:
    found = {name: _objective(name, values) for name in objectives}
    rest = {}
    for name, value in values.items():
        if name not in found:
            number = _number(value)
            if number is not None and math.isfinite(number):
                found[str(name)] = number
            else:
                rest[str(name)] = plain(value)
    return Outcome(values=found, details={**rest, **{str(k): plain(v) for k, v in details.items()}})


def split_result(result: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Values and details of what an evaluation returned.

    Raises:
        MeasureError: It returned something else.
    """
    if isinstance(result, tuple) and len(result) == 2:
        values, details = result
    else:
        values, details = result, {}
    if not isinstance(values, Mapping) or not isinstance(details, Mapping):
        raise MeasureError(
            f"an evaluation returned {type(result).__name__} instead of values by name.",
            hint='return {"accuracy": 0.97, "latency": 0.4}, or a pair of that and details.',
        )
    return values, details


def _objective(name: str, values: Mapping[str, Any]) -> float:
    if name not in values:
        raise MeasureError(
            f"an evaluation gave no value for the objective '{name}'.",
            hint=near_misses(name, map(str, values)),
            objective=name,
        )
    number = _number(values[name])
    if number is None:
        raise MeasureError(
            f"objective '{name}' is not a number: {values[name]!r}.",
            hint="return a float.",
            objective=name,
        )
    if not math.isfinite(number):
        raise MeasureError(f"objective '{name}' is {number}.", objective=name)
    return number


def _number(value: Any) -> float | None:
    """A real number, also from a NumPy scalar or a tensor of one element; None for the rest."""
    if hasattr(value, "item") and callable(value.item):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            return None
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    return None


def plain(value: Any) -> Any:
    """``value`` as JSON data: what JSON has no word for becomes text, NaN and infinity too."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    number = _number(value)
    if number is not None:
        return number if math.isfinite(number) else str(number)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)
