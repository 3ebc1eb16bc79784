"""Strict JSON in, canonical JSON out, and the short hash both rest on.

Two processes, two key orders, two platforms: the same data has the same text and so the same
id. What JSON allows but data never means (NaN, infinity, a key given twice) is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from supple.errors import SpaceError, near_misses

__all__ = ["canonical_json", "checked_keys", "digest", "parse"]

ID_LENGTH = 12


def canonical_json(data: Any) -> str:
    """The one text for ``data``: keys sorted, no blanks, ASCII only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: Any) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON of ``data``."""
    return hashlib.sha256(canonical_json(data).encode("ascii")).hexdigest()[:ID_LENGTH]


def parse(text: str | bytes, what: str, error: type[SpaceError] = SpaceError) -> Any:
    """The data in ``text``; anything that is not strict JSON raises ``error``."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"the key '{key}' is given twice")
            found[key] = value
        return found

    def number(literal: str) -> float:
        value = float(literal)
        if not math.isfinite(value):
            raise ValueError(f"{literal} is not a finite number")
        return value

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=number)
    except (ValueError, TypeError, RecursionError) as problem:
        raise error(
            f"{what} cannot be read from this JSON text.",
            why=f"{problem}.",
            hint="pass the text that to_json() gave, whole and unchanged.",
        ) from None


def checked_keys(
    data: Any, *, required: Collection[str], optional: Collection[str] = (), what: str
) -> Mapping[str, Any]:
    """``data`` if it is an object with all required keys and no unknown one."""
    if not isinstance(data, Mapping):
        raise SpaceError(
            f"{what} must be a JSON object, got {type(data).__name__}.",
            hint="pass what to_data() or to_json() gave.",
        )
    for key in data:
        if key not in required and key not in optional:
            known = [*required, *optional]
            raise SpaceError(
                f"{what} has the unknown key {key!r}.",
                why=f"Its keys are {', '.join(known)}.",
                hint=near_misses(str(key), known),
            )
    missing = [key for key in required if key not in data]
    if missing:
        raise SpaceError(
            f"{what} lacks {', '.join(repr(key) for key in missing)}.",
            hint="pass what to_data() or to_json() gave, unchanged.",
        )
    return data
