"""Every error supple raises on purpose.

A message has up to four parts: what was asked and found (the first line), why it cannot be,
and what to try. The same facts are attributes, so a program need not parse text.

    SuppleError
    ├── SpaceError            a space, choice or config that does not fit
    │   └── ConfigError       a config of another space, an unknown choice, an option not offered
    ├── BlockError            a block of sizes that do not fit, or called with a wrong shape
    ├── CheckError            a contract check that did not hold
    ├── CompressError         a ratio, mask, score or number format that does not fit the network
    ├── TraceError            a model that cannot be captured or is not elastic anywhere
    │   └── ExampleError      an example input that does not fit the model
    ├── DataError             a loader or data set that is empty, missing or damaged
    ├── TrainingError         a loss that is not a finite number, a run that cannot go on
    ├── MeasureError          a measure that gave no usable number
    ├── SearchError           an unknown strategy or one that cannot search this space
    ├── StudyError            a study that is of another task, damaged or not there
    │   └── NoCandidateError  no candidate meets the bound that was asked for
    ├── ExportError           an exported file that is not the network, or a format that is unknown
    ├── TaskError             a task that cannot be found or lacks a part
    ├── PaperError            a paper that the catalogue does not have
    ├── ClaimError            an unknown claim, one that cannot run, or damaged evidence
    └── MissingExtraError     an optional dependency that is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "BlockError",
    "CheckError",
    "ClaimError",
    "CompressError",
    "ConfigError",
    "DataError",
    "ExampleError",
    "ExportError",
    "MeasureError",
    "MissingExtraError",
    "NoCandidateError",
    "PaperError",
    "SearchError",
    "SpaceError",
    "StudyError",
    "SuppleError",
    "TaskError",
    "TraceError",
    "TrainingError",
    "near_misses",
]


class SuppleError(Exception):
    """Base of all errors of supple.

    Args:
        message: What was asked and what was found, one sentence.
        why: Why it cannot be.
        hint: What to try, one imperative sentence.
        **data: The facts of the message, kept in ``error.data`` for programs.
    """

    code = "supple"

    def __init__(self, message: str, *, why: str = "", hint: str = "", **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint
        self.data = data

    def __str__(self) -> str:
        lines = [self.message]
        if self.why:
            lines.append(f"  {self.why}")
        if self.hint:
            lines.append(f"  Try: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders by pickle, which replays positional arguments only.
        return _rebuild, (type(self), self.message, self.why, self.hint, self.data)


def _rebuild(
    kind: type[SuppleError], message: str, why: str, hint: str, data: dict[str, Any]
) -> SuppleError:
    return kind(message, why=why, hint=hint, **data)


class SpaceError(SuppleError):
    """A space or choice that cannot be built or does not fit."""

    code = "space"


class ConfigError(SpaceError):
    """A config of another space, an unknown choice, or an option that is not offered."""

    code = "config"


class BlockError(SuppleError):
    """A block built with sizes that do not fit, or called with a wrong shape."""

    code = "block"


class CheckError(SuppleError):
    """A contract check of ``supple.testing`` that did not hold."""

    code = "check"


class CompressError(SuppleError):
    """A ratio, mask, score or number format that does not fit the network."""

    code = "compress"


class TraceError(SuppleError):
    """A model that cannot be captured, or that is elastic nowhere."""

    code = "trace"


class ExampleError(TraceError):
    """An example input that does not fit the model."""

    code = "example"


class DataError(SuppleError):
    """A loader or data set that is empty, missing or damaged."""

    code = "data"


class TrainingError(SuppleError):
    """A loss that is not a finite number, or a checkpoint that does not fit."""

    code = "training"


class MeasureError(SuppleError):
    """A measure that gave no usable number."""

    code = "measure"


class SearchError(SuppleError):
    """An unknown strategy, or one that cannot search this space."""

    code = "search"


class StudyError(SuppleError):
    """A study that belongs to another task, is damaged, or is not there."""

    code = "study"


class NoCandidateError(StudyError):
    """No candidate meets the bound that was asked for; the closest one is named."""

    code = "no-candidate"


class ExportError(SuppleError):
    """An exported file that does not equal the network, or an unknown format."""

    code = "export"


class TaskError(SuppleError):
    """A task that cannot be found, or lacks a part."""

    code = "task"


class PaperError(SuppleError):
    """A paper that the catalogue does not have."""

    code = "paper"


class ClaimError(SuppleError):
    """An unknown claim, one that cannot run, or damaged evidence."""

    code = "claim"


class MissingExtraError(SuppleError):
    """An optional dependency that is not installed; the message holds the pip line."""

    code = "missing-extra"

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """The error for ``package``, which the extra ``extra`` of supple would install."""
        return cls(
            f"{purpose} needs the package '{package}', which is not installed.",
            hint=f"pip install 'supple[{extra}]'",
            package=package,
            extra=extra,
        )


def near_misses(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A phrase naming the known names closest to ``name``, for the hint of an error."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=most, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    shown = ", ".join(f"'{n}'" for n in names[:8])
    return f"known are {shown}" + (" …" if len(names) > 8 else "") if names else "none are known"
