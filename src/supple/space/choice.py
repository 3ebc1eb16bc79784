"""Choices: the named decisions a space is made of.

A choice lists its options. Numbers ascend, so the last one is the largest; the options of a
swap are names and the first one is the original, which counts as the largest. A choice may
depend on others (the width of a block matters only while the block is there): it is active if
it has no condition or if any of its conditions holds.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from supple.errors import SpaceError, near_misses
from supple.space._json import checked_keys

__all__ = [
    "Bits",
    "Choice",
    "Condition",
    "Depth",
    "Kernel",
    "Kind",
    "Option",
    "Resolution",
    "Swap",
    "Width",
    "as_option",
]

Option = int | float | str
Kind = Literal["width", "depth", "kernel", "bits", "swap", "resolution"]

KINDS: tuple[Kind, ...] = get_args(Kind)
# Options are compared as float64, which holds every integer up to here exactly.
LARGEST_NUMBER = 2**53


def as_option(value: Any, what: str = "an option") -> Option:
    """``value`` as a plain option: a whole number becomes an int, a NumPy scalar a Python one.

    Raises:
        SpaceError: For booleans, NaN, infinity and anything that is no number and no string.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise SpaceError(
            f"{what} must be a number or a name, got {value!r}.",
            hint="use an int, a float or a str.",
        )
    if not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        raise SpaceError(
            f"{what} must be a finite number of at most 2**53, got {value!r}.",
            hint="use a number that float64 holds exactly.",
        )
    return int(value) if value == int(value) else float(value)


def _options(values: Any, what: str) -> tuple[Option, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SpaceError(
            f"{what} must be a sequence of options, got {values!r}.",
            hint="pass a tuple, also for a single option: (8,).",
        )
    return tuple(as_option(value, f"an option of {what}") for value in values)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Holds while the choice ``choice`` is active and set to one of ``options``.

    Args:
        choice: Name of the deciding choice.
        options: Options under which the condition holds; none means never.
    """

    choice: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.choice, str) or not self.choice:
            raise SpaceError(
                f"a condition must name a choice, got {self.choice!r}.",
                hint='Condition(choice="stage1.depth", options=(2, 3)).',
            )
        object.__setattr__(self, "options", _options(self.options, "a condition"))

    def to_data(self) -> dict[str, Any]:
        """This condition as JSON data."""
        return {"choice": self.choice, "options": list(self.options)}

    @classmethod
    def from_data(cls, data: Any) -> Condition:
        """The condition in JSON data, strictly checked."""
        found = checked_keys(data, required=("choice", "options"), what="a condition")
        return cls(choice=found["choice"], options=_listed(found["options"], "a condition"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """One named decision of a space; its name is its key in the space.

    Two choices are equal if kind, options, size and conditions are, whatever class built them.

    Args:
        kind: What is decided: ``width``, ``depth``, ``kernel``, ``bits``, ``swap``,
            ``resolution``.
        options: What may be chosen; numbers strictly ascending, names with the original first.
        size: Full size of the axis, number of blocks, or full kernel size; None if it is the
            largest option.
        when: The choice is active if this is empty or if any of these conditions holds.

    Example:
        >>> from supple.space import Width
        >>> Width(options=(8, 16, 32), size=32).largest
        32
    """

    kind: Kind
    options: tuple[Option, ...]
    size: int | None = None
    when: tuple[Condition, ...] = ()

    _smallest_number: ClassVar[dict[str, float]] = {"depth": 0, "bits": 1}

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpaceError(
                f"there is no kind of choice {self.kind!r}.",
                hint=near_misses(str(self.kind), KINDS),
            )
        object.__setattr__(self, "options", _options(self.options, f"a {self.kind} choice"))
        object.__setattr__(self, "when", self._conditions(self.when))
        if not self.options:
            raise SpaceError(f"a {self.kind} choice needs an option, got none.", hint="add one.")
        if self.kind == "swap":
            self._check_names()
        else:
            self._check_numbers()

    def _conditions(self, when: Any) -> tuple[Condition, ...]:
        conditions = tuple(when) if isinstance(when, Iterable) else (when,)
        if not all(isinstance(condition, Condition) for condition in conditions):
            raise SpaceError(
                f"the conditions of a {self.kind} choice must be Condition objects, got {when!r}.",
                hint='when=(Condition(choice="stage1.depth", options=(2, 3)),).',
            )
        return conditions

    def _check_names(self) -> None:
        is_clean = all(isinstance(o, str) and o for o in self.options)
        if not is_clean or len(set(self.options)) < len(self.options) or self.size is not None:
            raise SpaceError(
                f"a swap choice must list different names and no size, got options {self.options}"
                f" and size {self.size}.",
                hint='Swap(options=("original", "kan")).',
            )

    def _check_numbers(self) -> None:
        at_least = self._smallest_number.get(self.kind, 1)
        allowed = (int, float) if self.kind == "bits" else int
        for option in self.options:
            if not isinstance(option, allowed) or option < at_least:
                raise SpaceError(
                    f"a {self.kind} choice got the option {option!r}.",
                    why=f"Its options are {'' if self.kind == 'bits' else 'whole '}numbers "
                    f"from {at_least:g} up.",
                    hint="leave this option out.",
                )
        values = self.values
        if any(low >= high for low, high in pairwise(values)):
            raise SpaceError(
                f"the options of a {self.kind} choice must ascend, got {self.options}.",
                hint=f"options={tuple(sorted(set(values)))}.",
            )
        if self.size is None:
            return
        size = as_option(self.size, f"the size of a {self.kind} choice")
        if not isinstance(size, int) or size < values[-1]:
            raise SpaceError(
                f"a {self.kind} choice of size {self.size!r} got the option {values[-1]}.",
                why="No option can be larger than the full size, and a size is a whole number.",
                hint="drop the larger options, or correct the size.",
            )
        object.__setattr__(self, "size", size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.kind, self.options, self.size, self.when

    @property
    def is_number(self) -> bool:
        """Whether the options are numbers (all kinds but swap)."""
        return self.kind != "swap"

    @property
    def values(self) -> tuple[float, ...]:
        """The options of a choice of numbers, typed as such."""
        assert self.is_number, "a swap has names, not numbers"
        return tuple(option for option in self.options if not isinstance(option, str))

    @property
    def largest_index(self) -> int:
        """Where in ``options`` the largest (for a swap: the original) stands."""
        return len(self.options) - 1 if self.is_number else 0

    @property
    def largest(self) -> Option:
        """The option that leaves the model as it was brought, or comes nearest to that."""
        return self.options[self.largest_index]

    @property
    def full_size(self) -> float | None:
        """What a ratio is a ratio of: ``size``, else the largest option; None for a swap."""
        if not self.is_number:
            return None
        return self.values[-1] if self.size is None else self.size

    def nearest_index(self, value: float) -> int:
        """Position of the option nearest to a number; the larger one of two equally near."""
        distances = [abs(option - value) for option in self.values]
        return len(distances) - 1 - distances[::-1].index(min(distances))

    def to_data(self) -> dict[str, Any]:
        """This choice as JSON data."""
        return {
            "kind": self.kind,
            "options": list(self.options),
            "size": self.size,
            "when": [condition.to_data() for condition in self.when],
        }

    @classmethod
    def from_data(cls, data: Any) -> Choice:
        """The choice in JSON data, strictly checked."""
        found = checked_keys(
            data, required=("kind", "options"), optional=("size", "when"), what="a choice"
        )
        kind = found["kind"]
        settings: dict[str, Any] = {
            "options": _listed(found["options"], "a choice"),
            "size": found.get("size"),
            "when": tuple(
                Condition.from_data(item) for item in _listed(found.get("when", []), "a choice")
            ),
        }
        if isinstance(kind, str) and kind in _CLASSES:
            return _CLASSES[kind](**settings)
        return Choice(kind=kind, **settings)


def _listed(value: Any, what: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise SpaceError(
            f"{what} must hold its parts in a list, got {value!r}.",
            hint="pass what to_data() or to_json() gave, unchanged.",
        )
    return tuple(value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Width(Choice):
    """How many positions of an axis are kept; ``size`` is the uncut number."""

    kind: Literal["width"] = field(default="width", init=False, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Depth(Choice):
    """How many blocks of a stage are kept; 0 skips it. ``size`` is the number of blocks."""

    kind: Literal["depth"] = field(default="depth", init=False, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernel(Choice):
    """The side of the centred core of a kernel that is used; ``size`` is the full side."""

    kind: Literal["kernel"] = field(default="kernel", init=False, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bits(Choice):
    """How many bits weights or activations have; may be a fraction (log2 3 for ternary)."""

    kind: Literal["bits"] = field(default="bits", init=False, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Swap(Choice):
    """Which module stands in a place; the first name is the original."""

    kind: Literal["swap"] = field(default="swap", init=False, repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Resolution(Choice):
    """The side of the input; ``size`` is that of the example."""

    kind: Literal["resolution"] = field(default="resolution", init=False, repr=False)


_CLASSES: dict[str, Callable[..., Choice]] = {
    "width": Width,
    "depth": Depth,
    "kernel": Kernel,
    "bits": Bits,
    "swap": Swap,
    "resolution": Resolution,
}
