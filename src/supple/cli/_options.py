"""Options that several commands share, and the groups they are shown in."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Group, Parameter

from supple.cli._bounds import parse_bound, parse_bounds, parse_pairs

__all__ = [
    "MACHINES",
    "MEASURE",
    "PICK",
    "SEARCH",
    "TRAINING",
    "AsJson",
    "Quiet",
    "bound",
    "bounds",
    "pairs",
]

# Groups are shown in this order.
PICK = Group("What to pick", sort_key=1)
SEARCH = Group("Search", sort_key=2)
TRAINING = Group("Training", sort_key=3)
MEASURE = Group("Measuring", sort_key=4)
MACHINES = Group("Many workers", sort_key=5)

AsJson = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), show_default=False)]


def bound(name: str) -> Parameter:
    """The option of one bound of the pick, checked while the command line is read."""

    def check(type_: Any, value: Any) -> None:
        if value is not None:
            parse_bound(name, value)

    return Parameter(validator=check, group=PICK)


def bounds(type_: Any, value: Any) -> None:
    """Check a list of ``name=bound`` texts."""
    parse_bounds(value or [])


def pairs(type_: Any, value: Any) -> None:
    """Check a list of ``name=value`` texts."""
    parse_pairs(value or [])
