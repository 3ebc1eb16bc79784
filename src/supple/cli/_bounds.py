"""Bounds of the pick as typed: "0.5" (of the baseline), "2ms", "98%", "latency=0.5".

Only the form is checked here, while the command line is read; what a unit means, and which bounds
a study has, the study says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from supple.cli._pipeline import Bounds

__all__ = ["parse_bound", "parse_bounds", "parse_pairs"]

_FORM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?\s*([^\W\d_]+|[%×])?", re.IGNORECASE)


def parse_bound(name: str, text: str) -> float | str:
    """One bound: a plain number as a float ("50%" is 0.5), a number with a unit as it is ("2ms").

    Raises:
        ValueError: The text is not a positive number, with or without a unit.
    """
    match = _FORM.fullmatch(text.strip())
    number = float(match[1] + (match[2] or "")) if match else math.nan
    if match is None or not math.isfinite(number) or number <= 0:
        raise ValueError(
            f"'{text}' is not a bound of {name}: it is a positive number, with or without a unit, "
            "such as 0.5, 50% or 2ms."
        )
    if not match[3]:
        return number
    return number / 100 if match[3] == "%" else text.strip()


def parse_bounds(texts: Sequence[str]) -> Bounds:
    """Bounds written as ``name=value``, several of them apart or joined by commas.

    Raises:
        ValueError: A name is given twice, or a value is not a bound.
    """
    bounds: Bounds = {}
    for name, value in parse_pairs([part for text in texts for part in text.split(",")]):
        if name in bounds:
            raise ValueError(f"the bound '{name}' is given twice.")
        bounds[name] = parse_bound(name, value)
    return bounds


def parse_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Texts of the form ``name=value``.

    Raises:
        ValueError: A text has no "=", or nothing on one side of it.
    """
    pairs = []
    for text in texts:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not (name and separator and value):
            raise ValueError(f"'{text}' is not of the form name=value.")
        pairs.append((name, value))
    return pairs
