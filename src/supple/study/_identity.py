"""What a study is about, stored with it: space, directions, fingerprint.

Resuming is repeating the command, so opening must find out whether the command is the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from supple.errors import SpaceError, StudyError
from supple.space import Space
from supple.study.direction import Direction, checked_directions

__all__ = ["Identity"]

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must be the same for a study to go on.

    Args:
        space: The space searched.
        directions: The objectives, in order.
        fingerprint: What the values depend on besides the config: task, data, seed of the
            weights. Plain JSON data.
        version: The version of supple that made the study; not compared.
    """

    space: Space
    directions: dict[str, Direction]
    fingerprint: dict[str, Any]
    version: str

    @classmethod
    def of(
        cls, space: Space, directions: Mapping[str, str], fingerprint: Mapping[str, Any] | None
    ) -> Self:
        """The identity of a new study, checked."""
        if not isinstance(space, Space):
            raise StudyError(
                f"a study searches a Space, got {type(space).__name__}.",
                hint="pass net.space, or build one: Space({...}).",
            )
        try:
            # What comes back from JSON (lists for tuples) is what will be compared.
            plain = json.loads(json.dumps(dict(fingerprint or {}), allow_nan=False))
        except (TypeError, ValueError) as problem:
            raise StudyError(
                "the fingerprint cannot be stored.",
                why=f"{problem}.",
                hint="use strings, finite numbers, lists and dicts.",
            ) from None
        return cls(
            space=space,
            directions=checked_directions(directions),
            fingerprint=plain,
            version=_version(),
        )

    def to_data(self) -> dict[str, Any]:
        """This identity as JSON data."""
        return {
            "schema": SCHEMA,
            "version": self.version,
            "space": self.space.to_data(),
            "directions": [[name, way] for name, way in self.directions.items()],
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_data(cls, data: Any, name: str) -> Self:
        """The identity stored with study ``name``."""
        if isinstance(data, Mapping) and data.get("schema") not in (None, SCHEMA):
            raise StudyError(
                f"study '{name}' has schema {data['schema']!r}; this supple reads {SCHEMA}.",
                hint=f"use the version of supple that wrote it: {data.get('version')}.",
            )
        try:
            return cls(
                space=Space.from_data(data["space"]),
                directions=checked_directions(dict(data["directions"])),
                fingerprint=dict(data["fingerprint"]),
                version=str(data["version"]),
            )
        except (KeyError, TypeError, ValueError, SpaceError, StudyError) as problem:
            raise StudyError(
                f"what study '{name}' is about cannot be read.",
                why=f"{type(problem).__name__}: {problem}.",
                hint="the file was not written by supple, or was changed; use another one.",
            ) from problem

    def require_same(self, stored: Identity, name: str) -> None:
        """Raise a StudyError that says what differs from what is stored, if anything does."""
        differences = list(self._differences(stored))
        if differences:
            raise StudyError(
                f"study '{name}' is about something else: {'; '.join(differences)}.",
                why="Its trials would be compared with values they cannot be compared with.",
                hint="use another storage or name for the new task, or repeat the old command "
                "as it was.",
                differences=differences,
            )

    def _differences(self, stored: Identity) -> list[str]:
        found = []
        for key in {**stored.fingerprint, **self.fingerprint}:
            old, new = stored.fingerprint.get(key), self.fingerprint.get(key)
            if old != new:
                found.append(f"{key} was {_short(old)}, now {_short(new)}")
        if list(stored.directions.items()) != list(self.directions.items()):
            found.append(f"the objectives were {_objectives(stored)}, now {_objectives(self)}")
        if stored.space != self.space:
            found.append(_space_difference(stored.space, self.space))
        return found


def _short(value: Any) -> str:
    text = "not there" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _objectives(identity: Identity) -> str:
    return ", ".join(f"{name} {way}" for name, way in identity.directions.items())


def _space_difference(old: Space, new: Space) -> str:
    """The first thing that tells two spaces apart."""
    ids = f"(its id was {old.id}, now {new.id})"
    for name in {**old, **new}:
        if name not in old or name not in new:
            where = "lacks" if name not in new else "newly has"
            return f"the space {where} the choice '{name}' {ids}"
        if old[name].options != new[name].options:
            return (
                f"choice '{name}' had options {_short(old[name].options)}, "
                f"now {_short(new[name].options)} {ids}"
            )
        if old[name] != new[name]:
            return f"choice '{name}' has another kind, size or condition {ids}"
    what = "constraints" if old.constraints != new.constraints else "order of choices"
    return f"the space has other {what} {ids}"


def _version() -> str:
    import supple

    return str(getattr(supple, "__version__", "unknown"))
