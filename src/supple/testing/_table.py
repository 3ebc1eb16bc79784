"""The table of checks of a block, by name, in the order they are run."""

from __future__ import annotations

from collections.abc import Callable

from supple.testing._block_case import BlockCase

__all__ = ["CHECKS", "Check", "check"]

Check = Callable[[BlockCase], None]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Adds a check to the table, named as the function."""
    CHECKS[function.__name__] = function
    return function
