"""Bounds such as ``0.5``, ``"2ms"`` or ``"1.5GMACs"``: a number, and whether it is absolute.

A plain number is compared with the objective as the search sees it (a latency ratio of 0.5); a
number with a unit is an absolute amount and compared with what was measured in that unit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from supple.errors import StudyError

__all__ = ["Bound", "Unit", "parse_bound"]

Unit = Literal["", "ms", "count", "bytes"]

_TIMES = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3}
_LARGE = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTES = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_THINGS = ("macs", "mac", "flops", "flop", "parameters", "params", "param")
_SHARES = {"%": 0.01, "x": 1.0, "×": 1.0}

_PATTERN = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\d\s]*)\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How much is allowed.

    Args:
        value: The amount, in ``unit``.
        unit: ``ms``, ``count`` or ``bytes`` for an absolute amount; empty for a plain number.
        text: What the user wrote.
    """

    value: float
    unit: Unit = ""
    text: str = ""

    @property
    def is_absolute(self) -> bool:
        """Whether this is an amount with a unit."""
        return self.unit != ""

    def __str__(self) -> str:
        return self.text or f"{self.value:g}"


def parse_bound(bound: float | str | Bound) -> Bound:
    """What a bound means.

    Args:
        bound: A number, or a number with a unit: times ``ns us ms s`` (become ms), amounts
            ``K M G T`` with or without ``MACs``, ``FLOPs`` or ``params``, sizes ``B KB MB GB KiB
            MiB GiB`` (become bytes), shares ``50%`` and ``0.5x`` (plain numbers).

    Raises:
        StudyError: For anything else.

    Example:
        >>> parse_bound("1.5GMACs")
        Bound(value=1500000000.0, unit='count', text='1.5GMACs')
    """
    if isinstance(bound, Bound):
        return bound
    if isinstance(bound, str):
        return _parse_text(bound)
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
        raise _unreadable(bound)
    return Bound(value=float(bound))


def _parse_text(text: str) -> Bound:
    match = _PATTERN.fullmatch(text)
    if match is None or not math.isfinite(float(match[1])):
        raise _unreadable(text)
    value, suffix = float(match[1]), match[2]
    if suffix == "":
        return Bound(value=value, text=text.strip())
    scale, unit = _scale(suffix, text)
    return Bound(value=value * scale, unit=unit, text=text.strip())


def _scale(suffix: str, text: str) -> tuple[float, Unit]:
    lower = suffix.lower()
    if suffix in _SHARES:
        return _SHARES[suffix], ""
    if suffix in _TIMES:
        return _TIMES[suffix], "ms"
    if lower in _BYTES and suffix != "b":
        return float(_BYTES[lower]), "bytes"
    for thing in _THINGS:
        if lower.endswith(thing) and lower.removesuffix(thing) in _LARGE:
            return _LARGE[lower.removesuffix(thing)], "count"
    if suffix in ("k", "K", "M", "G", "T"):
        return _LARGE[lower], "count"
    raise _unreadable(text)


def _unreadable(bound: object) -> StudyError:
    return StudyError(
        f"the bound {bound!r} cannot be read.",
        why="A bound is a finite number, with or without a unit.",
        hint='write 0.5, "50%", "2ms", "5M", "1.5GMACs" or "300KB".',
        bound=bound,
    )
