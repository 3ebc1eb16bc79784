"""What the command line tells the program that called it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EPILOGUE", "Exit"]


class Exit(IntEnum):
    """The exit codes of ``supple``."""

    OK = 0
    ERROR = 1
    """A SuppleError: what was asked cannot be done; the message says what to try."""
    USAGE = 2
    """The command line itself is wrong: an unknown command or option, a value that cannot be."""
    NO_CANDIDATE = 3
    """The search went well, but no candidate meets the bounds of the pick."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; what was finished is saved, the same command goes on from there."""


EPILOGUE = (
    "Exit codes: 0 done, 1 an error that is explained, 2 wrong usage, "
    "3 no candidate meets the bound, 130 interrupted with what there is saved."
)
