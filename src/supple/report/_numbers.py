"""Numbers as people read them: few digits, a unit, one manner in the report and the terminal.

Values and units are parted by a plain space (the page ties them with an unbreakable one), minus
is a true minus sign, ranges take an en dash.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = [
    "duration",
    "exact_or_power",
    "filesize",
    "interval",
    "milliseconds",
    "percent",
    "plain",
    "points",
    "quantity",
    "ratio",
]

_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_THIN = "\u202f"


def plain(value: float, digits: int = 3) -> str:
    """``value`` with about ``digits`` significant digits and no exponent: "1.24", "124", "0.087".

    Digits left of the point are never rounded away: 12 345.6 is "12346".
    """
    if value == 0:
        return "0"
    # Rounded before its size is read off: 0.9997 is "1.00", not "1.000".
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{decimals}f}".replace("-", "−")


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage: 0.9893 is "98.9 %"."""
    return f"{100 * fraction:.{digits}f} %".replace("-", "−")


def points(difference: float, digits: int = 1) -> str:
    """A difference of two fractions in percentage points, with its sign: "−0.3 points"."""
    shown = f"{100 * difference:+.{digits}f}"
    if float(shown) == 0:
        shown = shown.replace("+", "±").replace("-", "±")
    return f"{shown} points".replace("-", "−")


def milliseconds(value: float, *, like: float | None = None) -> str:
    """A latency: "1.24 ms", "87 µs", "1.24 s"; in the unit of ``like``, to stand beside it."""
    size = value if like is None else like
    if size >= 1000:
        return f"{plain(value / 1000)} s"
    if size < 0.1:
        return f"{plain(value * 1000)} µs"
    return f"{plain(value)} ms"


def duration(seconds: float) -> str:
    """A duration a person waits: "8.2 s", "4 min 05 s", "1 h 12 min"."""
    if seconds < 60:
        return f"{plain(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def quantity(value: float) -> str:
    """A count with an SI prefix: 41 300 000 is "41.3 M", 512 is "512"."""
    return _prefixed(value, ("", "k", "M", "G", "T", "P", "E"), "")


def filesize(count: float) -> str:
    """A size in decimal units of bytes: "1.09 MB"."""
    return _prefixed(count, ("", "k", "M", "G", "T", "P", "E"), "B")


def _prefixed(value: float, prefixes: tuple[str, ...], unit: str) -> str:
    step = 0
    # 999.5 would be shown as "1000"; it belongs to the next prefix.
    while abs(value) >= 999.5 and step < len(prefixes) - 1:
        value /= 1000
        step += 1
    number = plain(value) if step or value != round(value) else f"{value:.0f}".replace("-", "−")
    return f"{number} {prefixes[step]}{unit}".rstrip()


def ratio(value: float) -> str:
    """A ratio to two decimals, or to two significant digits where it is small: "0.43"."""
    return f"{value:.2f}" if value >= 0.095 else plain(value, 2)


def interval(
    low: float, high: float, show: Callable[[float], str] = plain, *, beside: str = ""
) -> str:
    """An interval with its unit once, "[1.21–1.27 ms]", or not at all ``beside`` a value with it.

    Beside "98.9 %" the interval of a percentage is "[98.3–99.3]".
    """
    first, last = show(low), show(high)
    start, _, start_unit = first.partition(" ")
    end, _, unit = last.partition(" ")
    if unit != start_unit:
        return f"[{first}–{last}]"
    if unit == beside.partition(" ")[2]:
        return f"[{start}–{end}]"
    return f"[{start}–{end} {unit}]".replace(" ]", "]")


def exact_or_power(value: int) -> str:
    """A count exactly up to a million ("48 384"), above as a power of ten ("1.2 × 10⁹")."""
    if value < 1_000_000:
        return f"{value:,}".replace(",", _THIN)
    digits = str(value)
    exponent = len(digits) - 1
    # Through the digits, not log10: these counts outgrow floating point.
    lead = round(int(digits[:3]) / 100, 1)
    if lead >= 10:
        lead, exponent = 1.0, exponent + 1
    return f"{lead:.1f} × 10{str(exponent).translate(_SUPERSCRIPT)}"
