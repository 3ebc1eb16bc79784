"""Constraints: data-only statements that every config of a space must satisfy.

A constraint speaks about active choices only: an inactive choice is no part of the network, so
it can neither break a constraint nor help to meet it. Each constraint answers two questions:
``check`` (does it hold, for many configs at once) and ``possible`` (can it still hold, when some
choices are open), which lets a space repair a config instead of drawing until one fits.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from supple.errors import ConfigError, SpaceError, near_misses
from supple.space._json import checked_keys
from supple.space.choice import Option, as_option

__all__ = ["Constraint", "Divides", "Equal", "Multiple", "Ordered", "Sum", "constraint_from_data"]

# The options still open for each choice, and arrays of one value per config.
Domains = Mapping[str, Sequence[Option]]
Columns = Mapping[str, NDArray[Any]]
Flags = Mapping[str, NDArray[np.bool_]]


class Constraint(ABC):
    """What all configs of a space have in common; see the module for what it may speak about."""

    kind: ClassVar[str]
    needs_numbers: ClassVar[bool] = True

    @abstractmethod
    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""

    @abstractmethod
    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether it can hold, as far as one can tell from the open options.

        Args:
            sure: Open options of the choices that are active.
            maybe: Open options of the choices that may turn out active or not.

        Exact when every active choice has one open option and ``maybe`` is empty; otherwise it
        may say True too often, never False.
        """

    @abstractmethod
    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs: one array of values and flags per choice."""

    def holds(self, config: Mapping[str, Option], active: Collection[str] | None = None) -> bool:
        """Whether ``config`` satisfies this; ``active`` names its active choices (None: all)."""
        names = [n for n in self.involved() if active is None or n in active]
        missing = [name for name in names if name not in config]
        if missing:
            raise ConfigError(
                f"a constraint speaks about '{missing[0]}', which the config does not have.",
                hint=near_misses(missing[0], config),
            )
        return self.possible({name: (config[name],) for name in names}, {})

    def to_data(self) -> dict[str, Any]:
        """This constraint as JSON data."""
        assert dataclasses.is_dataclass(self), "constraints are dataclasses"
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
        return {"kind": self.kind, **plain}


def _names(value: Any, kind: str, *, at_least: int) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else ()
    is_clean = all(isinstance(name, str) and name for name in names)
    if not is_clean or len(set(names)) < len(names) or len(names) < at_least:
        raise SpaceError(
            f"the constraint '{kind}' needs {at_least} or more different choices, got {value!r}.",
            hint='names=("a.width", "b.width").',
        )
    return tuple(names)


def _numbers(options: Sequence[Option]) -> list[float]:
    return [option for option in options if not isinstance(option, str)]


@dataclass(frozen=True, kw_only=True)
class Equal(Constraint):
    """All active choices among ``names`` have the same option."""

    names: tuple[str, ...]

    kind: ClassVar[str] = "equal"
    needs_numbers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names(self.names, self.kind, at_least=2))

    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""
        return self.names

    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether some option is open for all active choices."""
        domains = [set(options) for options in sure.values()]
        return not domains or bool(set.intersection(*domains))

    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs."""
        first = values[self.names[0]]  # the value of the first active choice, once it is met
        is_met = active[self.names[0]]
        holds = np.ones(len(first), dtype=bool)
        for name in self.names[1:]:
            holds &= ~(is_met & active[name]) | (values[name] == first)
            first = np.where(is_met, first, values[name])
            is_met = is_met | active[name]
        return holds


@dataclass(frozen=True, kw_only=True)
class Ordered(Constraint):
    """The active choices among ``names`` do not shrink from one to the next."""

    names: tuple[str, ...]

    kind: ClassVar[str] = "ordered"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names(self.names, self.kind, at_least=2))

    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""
        return self.names

    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether taking the smallest open option that fits reaches the last choice."""
        reached = -math.inf
        for name in self.names:
            if name in sure:
                fitting = [option for option in _numbers(sure[name]) if option >= reached]
                if not fitting:
                    return False
                reached = min(fitting)
        return True

    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs."""
        reached = np.full(len(values[self.names[0]]), -np.inf)
        holds = np.ones(len(reached), dtype=bool)
        for name in self.names:
            holds &= ~active[name] | (values[name] >= reached)
            reached = np.where(active[name], np.maximum(values[name], reached), reached)
        return holds


@dataclass(frozen=True, kw_only=True)
class Divides(Constraint):
    """The option of ``divisor`` divides the option of ``number`` (as heads divide a width)."""

    divisor: str
    number: str

    kind: ClassVar[str] = "divides"

    def __post_init__(self) -> None:
        _names((self.divisor, self.number), self.kind, at_least=2)

    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""
        return self.divisor, self.number

    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether some open pair divides."""
        if self.divisor not in sure or self.number not in sure:
            return True
        divisors, numbers = _numbers(sure[self.divisor]), _numbers(sure[self.number])
        return any(d != 0 and n % d == 0 for d in divisors for n in numbers)

    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs."""
        divisor, number = values[self.divisor], values[self.number]
        divides = (divisor != 0) & (number % np.where(divisor == 0, 1, divisor) == 0)
        holds: NDArray[np.bool_] = ~(active[self.divisor] & active[self.number]) | divides
        return holds


@dataclass(frozen=True, kw_only=True)
class Multiple(Constraint):
    """The option of ``name`` is a multiple of the whole number ``of``."""

    name: str
    of: int

    kind: ClassVar[str] = "multiple"

    def __post_init__(self) -> None:
        _names((self.name,), self.kind, at_least=1)
        of = as_option(self.of, "the base of the constraint 'multiple'")
        if not isinstance(of, int) or of < 1:
            raise SpaceError(
                f"the constraint 'multiple' needs a whole number from 1 up, got {self.of!r}.",
                hint='Multiple(name="a.width", of=8).',
            )
        object.__setattr__(self, "of", of)

    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""
        return (self.name,)

    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether some open option is a multiple."""
        return self.name not in sure or any(n % self.of == 0 for n in _numbers(sure[self.name]))

    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs."""
        holds: NDArray[np.bool_] = ~active[self.name] | (values[self.name] % self.of == 0)
        return holds


@dataclass(frozen=True, kw_only=True)
class Sum(Constraint):
    """The options of the active choices among ``names`` add up to a number within bounds.

    Args:
        names: The choices that are added.
        at_most: Largest sum allowed, None for no bound.
        at_least: Smallest sum allowed, None for no bound.
    """

    names: tuple[str, ...]
    at_most: float | None = None
    at_least: float | None = None

    kind: ClassVar[str] = "sum"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names(self.names, self.kind, at_least=1))
        for side in ("at_most", "at_least"):
            bound = getattr(self, side)
            number = None if bound is None else as_option(bound, f"'{side}' of a sum")
            if isinstance(number, str):
                raise SpaceError(
                    f"'{side}' of a sum must be a number, got {number!r}.", hint=f"{side}=512."
                )
            object.__setattr__(self, side, number)
        if self.at_most is None and self.at_least is None:
            raise SpaceError(
                "the constraint 'sum' has no bound.", hint="give at_most, at_least or both."
            )

    def involved(self) -> tuple[str, ...]:
        """Names of the choices this constraint speaks about."""
        return self.names

    def possible(self, sure: Domains, maybe: Domains) -> bool:
        """Whether the smallest and the largest sum that are still open leave room."""
        low = high = 0.0
        for name in self.names:
            if name in sure:
                low += min(_numbers(sure[name]))
                high += max(_numbers(sure[name]))
            elif name in maybe:
                high += max(_numbers(maybe[name]))
        return self._within(low, high)

    def _within(self, low: float, high: float) -> bool:
        fits_above = self.at_most is None or low <= self.at_most
        return fits_above and (self.at_least is None or high >= self.at_least)

    def check(self, values: Columns, active: Flags) -> NDArray[np.bool_]:
        """Whether it holds, for many configs."""
        total = np.zeros(len(values[self.names[0]]))
        for name in self.names:  # one by one, so that rounding is as in `possible`
            total = total + np.where(active[name], values[name], 0.0)
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        holds: NDArray[np.bool_] = (total >= low) & (total <= high)
        return holds


_CONSTRAINTS: dict[str, type[Constraint]] = {
    c.kind: c for c in (Equal, Ordered, Divides, Multiple, Sum)
}


def constraint_from_data(data: Any) -> Constraint:
    """The constraint in JSON data, strictly checked."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in _CONSTRAINTS:
        raise SpaceError(
            f"there is no constraint of kind {kind!r}.",
            hint=near_misses(str(kind), _CONSTRAINTS),
        )
    found = _CONSTRAINTS[kind]
    fields = [f.name for f in dataclasses.fields(found)]  # type: ignore[arg-type]
    given = checked_keys(data, required=("kind",), optional=fields, what=f"a constraint '{kind}'")
    try:
        return found(**{key: value for key, value in given.items() if key != "kind"})
    except TypeError as problem:
        raise SpaceError(
            f"a constraint '{kind}' cannot be read: {problem}.",
            hint=f"its keys are {', '.join(fields)}.",
        ) from None
