"""What a run found, as plain data: the content of ``runs/<name>/result.json``.

The main job writes it; the report, the command line and other people's programs read it. Reading
is strict: a wrong type, an unknown key, a number that is not finite or a reference to a trial that
is not there is refused, and so is a schema version this supple does not know.

This file imports nothing of the report, so it can be read (and loaded) on its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from supple.errors import StudyError, near_misses
from supple.report._files import write_whole

__all__ = [
    "SCHEMA",
    "Asked",
    "Cut",
    "Direction",
    "ElasticAxis",
    "FixedAxis",
    "Hypervolume",
    "Layer",
    "Metric",
    "NetworkResult",
    "Option",
    "PickResult",
    "Result",
    "Structure",
    "TaskResult",
    "TrialResult",
]

SCHEMA = 1
FILE_NAME = "result.json"
# The largest integer every JSON reader keeps exact (a JavaScript number has 53 bits).
_EXACT_JSON_INT = 2**53

Option = int | float | str
Direction = Literal["min", "max"]
Count = Annotated[int, Field(ge=0)]


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError(f"an interval goes from low to high, got {list(interval)}")
    return interval


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]


class _Record(BaseModel):
    """Strict, frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Metric(_Record):
    """What ``accuracy`` means in this task.

    Fields: ``name`` as people say it, ``direction`` ("max": larger is better), ``is_fraction``
    whether it lies between 0 and 1 and is best read as a percentage.
    """

    name: str = "accuracy"
    direction: Direction = "max"
    is_fraction: bool = True


class TaskResult(_Record):
    """The task of the run: its name, the options it was given, one sentence about it."""

    name: str
    options: dict[str, str | int | float | bool] = {}
    description: str = ""
    metric: Metric = Metric()


class Asked(_Record):
    """What the user asked for; ``pick`` holds the bounds (relative numbers or strings as "2ms")."""

    objectives: tuple[str, ...]
    evaluations: Count
    strategy: str
    seed: int
    pick: dict[str, float | str] = {}
    backend: str | None = None
    threads: int = Field(default=1, ge=1)
    batch: int | None = None
    training: dict[str, JsonValue] = {}


class ElasticAxis(_Record):
    """An axis (or block) that could vary: full size, the weights cut with it, their count.

    ``options`` are the sizes (or the names of the modules) it could take.
    """

    name: str
    kind: str
    size: int
    members: tuple[str, ...] = ()
    params: Count = 0
    options: tuple[Option, ...] = ()


class FixedAxis(_Record):
    """An axis that could not vary, which operator fixed it, and why."""

    name: str
    size: int | None = None
    reason: str
    operator: str = ""
    where: str = ""


class Structure(_Record):
    """What tracing found in the network."""

    elastic: tuple[ElasticAxis, ...] = ()
    fixed: tuple[FixedAxis, ...] = ()


class TrialResult(_Record):
    """One evaluated config; ``values`` is empty where the trial failed."""

    number: Count
    config: dict[str, Option]
    values: dict[str, float] = {}
    details: dict[str, JsonValue] = {}
    seconds: float | None = None
    state: str = "complete"


class Hypervolume(_Record):
    """The hypervolume of the front after n evaluations, as ``curve`` of ``(n, hypervolume)``."""

    reference: dict[str, float]
    curve: tuple[tuple[int, float], ...]


class NetworkResult(_Record):
    """A network measured at the end: once, on test data the search never saw.

    Fields: ``test_accuracy`` is the task's metric (a fraction where it is one);
    ``valid_accuracy`` the same on validation data; ``file_bytes`` the size of its exported file;
    ``values`` its objectives as the search measured them, where that was done.
    """

    test_accuracy: float
    test_accuracy_interval: Interval
    valid_accuracy: float | None = None
    latency_ms: float = Field(gt=0)
    latency_ms_interval: Interval
    macs: Count
    params: Count
    file_bytes: Count
    peak_memory_bytes: Count | None = None
    values: dict[str, float] = {}


class PickResult(NetworkResult):
    """The picked network; ``latency_ratio`` is pick over baseline, measured interleaved.

    ``extracted_as`` is "native" for the model's own classes and "graph" for a module around its
    graph, ``extracted_why`` says why, ``extraction_notes`` what else a user should know.
    """

    trial: Count
    config: dict[str, Option]
    latency_ratio: float = Field(gt=0)
    latency_ratio_interval: Interval
    noisy: bool = False
    extracted_as: Literal["native", "graph"] = "native"
    extracted_why: str = ""
    extraction_notes: tuple[str, ...] = ()


class Cut(_Record):
    """One choice of the pick: what was kept of the full size, and which blocks went."""

    name: str
    kind: str
    kept: Option
    of: Option
    dropped: tuple[str, ...] = ()


class Layer(_Record):
    """One layer before and after: the shape of its weight, or ``after=None`` where dropped."""

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...] | None
    params_before: Count
    params_after: Count


class Result(_Record):
    """Everything a run found. ``Result.load(run)`` reads it, ``result.save(run)`` writes it.

    ``status`` says how the run ended: "complete", "interrupted" (by the user, with what there is)
    or "no-candidate" (no sub-network met the bounds, so there is no ``pick``). A trial's
    cost (latency, macs, params, memory, file_size) is a "ratio" to the baseline's unless ``units``
    calls it "absolute": milliseconds, counts, bytes.
    """

    version: int = Field(default=SCHEMA, alias="schema")
    supple: str
    created: datetime
    status: Literal["complete", "interrupted", "no-candidate"] = "complete"
    task: TaskResult
    command: str = ""
    python: str = ""
    asked: Asked
    machine: dict[str, str | int | float | None] = {}
    space: dict[str, JsonValue] = {}
    space_size: int = Field(ge=0)
    structure: Structure = Structure()
    directions: dict[str, Direction]
    units: dict[str, Literal["ratio", "absolute"]] = {}
    trials: tuple[TrialResult, ...] = ()
    front: tuple[Count, ...] = ()
    hypervolume: Hypervolume | None = None
    baseline: NetworkResult | None = None
    pick: PickResult | None = None
    cuts: tuple[Cut, ...] = ()
    layers: tuple[Layer, ...] = ()
    seconds: dict[str, float] = {}
    warnings: tuple[str, ...] = ()

    FILE_NAME: ClassVar[str] = FILE_NAME

    @field_validator("space_size", mode="before")
    @classmethod
    def _read_huge_int(cls, value: object) -> object:
        # Spaces have up to thousands of digits; those are written as text, see below.
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        return value

    @field_serializer("space_size", when_used="json")
    def _write_huge_int(self, value: int) -> int | str:
        return value if value <= _EXACT_JSON_INT else str(value)

    @field_validator("version")
    @classmethod
    def _known_schema(cls, value: int) -> int:
        if value != SCHEMA:
            raise ValueError(f"this supple writes schema {SCHEMA}")
        return value

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        numbers = [trial.number for trial in self.trials]
        if len(set(numbers)) != len(numbers):
            raise ValueError("two trials have the same number")
        if not self.directions:
            raise ValueError("directions is empty: a run has at least one objective")
        missing = set(self.front) - set(numbers)
        if missing:
            raise ValueError(f"front names trials that are not there: {sorted(missing)}")
        if self.pick is not None and self.pick.trial not in numbers:
            raise ValueError(f"pick names trial {self.pick.trial}, which is not there")
        if self.pick is not None and self.baseline is None:
            raise ValueError("a pick needs a baseline to be compared with")
        return self

    def trial(self, number: int) -> TrialResult:
        """The trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Build a result from plain data (lists for tuples are fine), checked as a file would be.

        Raises:
            StudyError: The data does not follow the schema.
        """
        try:
            text = json.dumps(data, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StudyError(
                f"this result cannot be written as JSON: {error}.",
                hint="pass plain numbers (finite), texts, lists and dicts only.",
            ) from error
        return cls.from_json(text, "result")

    @classmethod
    def from_json(cls, text: str, where: str = FILE_NAME) -> Self:
        """Read a result from JSON text; ``where`` names the source in errors.

        Raises:
            StudyError: Not JSON, another schema version, or data that does not follow the schema.
        """
        data = _parse(text, where)
        _check_schema(data, where)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _does_not_follow(error, where) from None

    def to_json(self) -> str:
        """The JSON text of this result: plain numbers, no NaN, one final line end."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the result of a run, given its folder or its ``result.json``.

        Raises:
            StudyError: There is no such run, it is not finished, or the file is damaged.
        """
        file = _locate(Path(path))
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StudyError(
                f"cannot read '{file}': {error}.", hint="repeat the command that made the run."
            ) from error
        return cls.from_json(text, str(file))

    def save(self, path: str | Path) -> Path:
        """Write ``result.json`` into the folder ``path`` (whole or not at all); returns the file.

        Raises:
            StudyError: The folder cannot be written, or the disk is full.
        """
        file = Path(path) / FILE_NAME
        write_whole(file, self.to_json())
        return file


def _locate(path: Path) -> Path:
    if path.is_file():
        return path
    file = path / FILE_NAME
    if file.is_file():
        return file
    if path.is_dir() and (path / "study.db").exists():
        raise StudyError(
            f"the run '{path}' has no {FILE_NAME} yet.",
            why="Its search was started but not finished.",
            hint="repeat the command that started it; finished trials are kept.",
            path=str(path),
        )
    if path.is_dir():
        raise StudyError(
            f"'{path}' is not a run: it holds no {FILE_NAME}.",
            hint=_which_run(path, path),
            path=str(path),
        )
    raise StudyError(
        f"there is no run '{path}'.",
        hint=_which_run(path, path.parent),
        path=str(path),
    )


def _which_run(path: Path, folder: Path) -> str:
    runs = [file.parent.name for file in folder.glob(f"*/{FILE_NAME}")]
    if not runs:
        return "give the folder of a run, the --out of 'supple optimize'."
    return f"give the folder of a run; {near_misses(path.name, runs)}"


def _parse(text: str, where: str) -> object:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"it holds {constant}, which is not a number")

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"the number {number} is too large")
        return value

    try:
        data: object = json.loads(text, parse_constant=refuse, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise StudyError(
            f"'{where}' is damaged: {error}.",
            why="It is not the JSON text that supple writes.",
            hint="repeat the command that made the run; finished trials are kept.",
            path=where,
        ) from None
    return data


def _check_schema(data: object, where: str) -> None:
    found = data.get("schema") if isinstance(data, dict) else None
    if type(found) is int and found == SCHEMA:
        return
    writer = data.get("supple") if isinstance(data, dict) else None
    raise StudyError(
        f"'{where}' has schema {found!r}; this supple reads schema {SCHEMA}.",
        why=f"It was written by supple {writer}." if writer else "It is not a result of supple.",
        hint="use the supple that wrote it, or repeat the command that made the run.",
        path=where,
        schema=found,
    )


def _does_not_follow(error: ValidationError, where: str) -> StudyError:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return StudyError(
        f"'{where}' does not follow schema {SCHEMA}: {place}: {first['msg']}{more}.",
        why="It was changed by hand, cut short, or written by another program.",
        hint="repeat the command that made the run; finished trials are kept.",
        path=where,
        place=place,
    )
