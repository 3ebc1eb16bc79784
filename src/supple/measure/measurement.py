"""What a measure is, and what it returns: a value with the interval it is known to."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from torch import nn

from supple.elastic._call import Network
from supple.errors import MeasureError

__all__ = ["Direction", "Measure", "Measurement", "plain_module"]

Direction = Literal["min", "max"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured figure.

    Attributes:
        value: The figure.
        low: Lower end of its 95 % interval; equal to ``value`` when it is exact.
        high: Upper end.
        unit: The unit of all three.
        count: Samples or rounds it rests on; 1 for an exact count.
        noisy: Whether the interval is wider than the measure accepts.
        details: What else the measure found, JSON-able.
    """

    value: float
    low: float
    high: float
    unit: str
    count: int
    noisy: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise MeasureError(
                f"A measurement of {self.value} [{self.low}, {self.high}] {self.unit} "
                "is not a finite number.",
                value=self.value,
            )

    @classmethod
    def exact(cls, value: float, unit: str, **details: Any) -> Self:
        """A figure that was counted, not sampled."""
        return cls(value=value, low=value, high=value, unit=unit, count=1, details=details)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:g} {self.unit}"
        noisy = ", noisy" if self.noisy else ""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] {self.unit}{noisy}"


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """Something that can be measured on a network.

    Attributes:
        name: What a study calls it.
        unit: The unit of its figures.
        direction: ``"min"`` or ``"max"``: which way is better.
    """

    name: str
    unit: str
    direction: Direction

    def __post_init__(self) -> None:
        if self.direction not in ("min", "max"):
            raise MeasureError(
                f"Measure '{self.name}' has direction {self.direction!r}.",
                why="A figure is better when it is smaller or when it is larger.",
                hint="direction='min' or direction='max'",
            )

    @abstractmethod
    def measure(self, network: Network) -> Measurement:
        """Measures ``network``, which is afterwards as it was before."""


def plain_module(network: Network, measure: str) -> nn.Module:
    """The network, if it is a module of its own, as what counts or records weights needs."""
    if isinstance(network, nn.Module):
        return network
    raise MeasureError(
        f"Measure '{measure}' was asked of a {type(network).__name__}, which is no nn.Module.",
        why="A sub-network that shares its weights has none of its own to count or record.",
        hint="net.extract(config), which returns a plain module",
        measure=measure,
    )
