"""Options of a task: the keyword arguments of the function that makes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from supple.errors import TaskError, near_misses

__all__ = ["checked_options", "keyword_defaults"]

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters ``function`` can be given by name, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def checked_options(
    what: str, known: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``options``, each of the type of its default in ``known``.

    The command line gives every value as text; text is read as the type of the default.

    Raises:
        TaskError: An option is not known, or is not of that type.
    """
    for name in options:
        if name not in known:
            raise TaskError(
                f"{what} has no option '{name}'.",
                hint=near_misses(name, known) if known else "leave it out: there are no options",
                option=name,
            )
    return {name: _as_type(what, name, value, known[name]) for name, value in options.items()}


def _as_type(what: str, name: str, value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str) or not _is_plain(default):
        return value
    try:
        if isinstance(default, bool):
            return {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[value.lower()]
        return type(default)(value)
    except (ValueError, KeyError):
        raise TaskError(
            f"{what} got {name}='{value}'.",
            why=f"It is a {type(default).__name__}, by default {default}.",
            hint=f"{name}={default}",
            option=name,
        ) from None


def _is_plain(default: Any) -> bool:
    return isinstance(default, (bool, int, float))
