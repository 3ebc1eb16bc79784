"""Which claims have evidence, and whether it is of the sources as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from supple.claims._evidence import EVIDENCE, Evidence, load_evidence
from supple.claims._fingerprint import changed, fingerprint
from supple.claims._registry import Entry, entries, entry
from supple.errors import ClaimError

__all__ = ["State", "Status", "status", "statuses"]

State = Literal["fresh", "stale", "missing", "damaged"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """A claim and its evidence.

    Attributes:
        entry: The claim.
        state: ``fresh``; ``stale``: what it measured has changed since; ``missing``: never
            measured; ``damaged``: the file cannot be read or its verdict does not follow.
        evidence: The evidence, if it could be read.
        changed: What has changed since it was measured.
        problem: Why the evidence is damaged.
    """

    entry: Entry
    state: State
    evidence: Evidence | None = None
    changed: tuple[str, ...] = ()
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The verdict in one phrase, with what to know of it."""
        if self.evidence is None:
            return "not measured" if self.state == "missing" else "evidence damaged"
        late = ", not re-measured since a change" if self.state == "stale" else ""
        return f"{self.evidence.verdict}{late}"


def status(name: str, folder: Path = EVIDENCE) -> Status:
    """The status of one claim.

    Raises:
        ClaimError: There is no such claim.
    """
    return _status(entry(name), folder)


def statuses(folder: Path = EVIDENCE) -> tuple[Status, ...]:
    """The status of every claim, by name; nothing is measured and no torch is loaded."""
    return tuple(_status(one, folder) for one in entries())


def _status(one: Entry, folder: Path) -> Status:
    try:
        evidence = load_evidence(one.name, folder)
    except ClaimError as error:
        return Status(entry=one, state="damaged", problem=error.message)
    if evidence is None:
        return Status(entry=one, state="missing")
    differs = changed(dict(evidence.measured), fingerprint(one.path))
    return Status(
        entry=one, state="stale" if differs else "fresh", evidence=evidence, changed=differs
    )
