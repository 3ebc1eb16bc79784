"""A table in a CSV file: one line per measured config."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError, near_misses
from supple.search.tables._listed import ListedSpace
from supple.search.tables._table import COUNTED, RecordedTable
from supple.space import Choice, Config, Depth, Option, Space, Swap
from supple.study import hypervolume
from supple.study.direction import Direction, checked_directions

__all__ = ["read_csv"]

# Two lines of one config agree if their values differ by less than this fraction.
AGREEMENT = 1e-9


@dataclass(frozen=True)
class _Columns:
    choices: dict[str, int]
    objectives: dict[str, int]
    directions: dict[str, Direction]


def read_csv(path: Path, exact: tuple[str, ...] | None) -> RecordedTable:
    """The table in a CSV file; see ``load_table``.

    Choices whose options are all whole numbers from 0 up are ordered; options that are other
    numbers are ordered too and keep their positions as numbers 0, 1, 2, …; all else are names.
    The reference point is the worst value of each objective, and the best hypervolume that of
    all lines.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = [line for line in csv.reader(file, strict=True) if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise _bad(path, f"it cannot be read as CSV: {error}") from None
    if len(lines) < 2:
        raise _bad(path, "it has no line of values below the names of its columns")
    columns = _columns(path, lines[0])
    texts, values = [], []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(lines[0]):
            raise _bad(path, f"line {number} has {len(line)} values for {len(lines[0])} columns")
        texts.append([_text(path, line[c], lines[0][c], number) for c in columns.choices.values()])
        values.append(
            [_number(path, line[c], lines[0][c], number) for c in columns.objectives.values()]
        )
    coded = [_choice(column) for column in zip(*texts, strict=True)]
    choices = {name: choice for name, (choice, _) in zip(columns.choices, coded, strict=True)}
    genes = np.stack([column for _, column in coded], axis=1)
    table, rows = _without_duplicates(path, genes, np.array(values), list(columns.objectives))
    return _table(path, choices, rows, table, columns, exact)


def _table(
    path: Path,
    choices: Mapping[str, Choice],
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    columns: _Columns,
    exact: tuple[str, ...] | None,
) -> RecordedTable:
    whole = math.prod(len(choice.options) for choice in choices.values())
    space = Space(choices) if whole == len(rows) else ListedSpace(choices, rows)
    known = {row.tobytes(): value for row, value in zip(rows, values, strict=True)}
    names = list(columns.directions)

    def evaluate(config: Config) -> dict[str, float]:
        found = known[space.to_indices(config).tobytes()]
        return dict(zip(names, found.tolist(), strict=True))

    worst = [
        values[:, i].max() if way == "min" else values[:, i].min()
        for i, way in enumerate(columns.directions.values())
    ]
    reference = {name: float(value) for name, value in zip(names, worst, strict=True)}
    best = hypervolume(values, list(reference.values()), list(columns.directions.values()))
    counted = tuple(name for name in names if name.lower() in COUNTED)
    return RecordedTable(
        space=space,
        directions=columns.directions,
        evaluate=evaluate,
        reference=reference,
        best_hypervolume=best if best > 0 else None,
        exact=counted if exact is None else exact,
        source=str(path),
    )


def _columns(path: Path, header: Sequence[str]) -> _Columns:
    choices: dict[str, int] = {}
    objectives: dict[str, int] = {}
    directions: dict[str, str] = {}
    for place, title in enumerate(header):
        kind, _, name = title.strip().partition(".")
        if kind not in ("choice", "min", "max") or not name:
            raise _bad(
                path,
                f"its column {title!r} is neither choice.NAME nor min.NAME nor max.NAME",
                hint=near_misses(kind, ("choice", "min", "max")),
            )
        if name in (choices if kind == "choice" else objectives):
            raise _bad(path, f"the column {title!r} is there twice")
        if kind == "choice":
            choices[name] = place
        else:
            objectives[name], directions[name] = place, kind
    if not choices or not objectives:
        missing = "choice.NAME" if not choices else "min.NAME or max.NAME"
        raise _bad(path, f"it has no column {missing}")
    return _Columns(choices, objectives, checked_directions(directions))


def _text(path: Path, value: str, title: str, line: int) -> str:
    if not value.strip():
        raise _bad(path, f"line {line} has no value for {title!r}", hint="fill it, or drop it.")
    return value.strip()


def _number(path: Path, value: str, title: str, line: int) -> float:
    try:
        number = float(_text(path, value, title, line))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _bad(
            path,
            f"line {line} has {value!r} for {title!r}, which is not a finite number",
            hint="record the number, or drop the line.",
        )
    return number


def _choice(texts: Sequence[str]) -> tuple[Choice, NDArray[np.int64]]:
    """A choice with the options of a column, and the gene of each of its lines."""
    numbers = [_as_number(text) for text in texts]
    options: tuple[Option, ...]
    if all(number is not None for number in numbers):
        levels = sorted({number for number in numbers if number is not None})
        genes = np.array([levels.index(n) for n in numbers if n is not None], dtype=np.int64)
        is_whole = all(level == int(level) and level >= 0 for level in levels)
        options = tuple(int(v) for v in levels) if is_whole else tuple(range(len(levels)))
        # The kind with the fewest demands on its numbers; nothing here is a depth.
        return Depth(options=options), genes
    names = tuple(dict.fromkeys(sorted(texts)))
    place = {name: index for index, name in enumerate(names)}
    return Swap(options=names), np.array([place[text] for text in texts], dtype=np.int64)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 2**53 else None


def _without_duplicates(
    path: Path, genes: NDArray[np.int64], values: NDArray[np.float64], names: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    first: dict[bytes, int] = {}
    for line, row in enumerate(genes):
        earlier = first.setdefault(row.tobytes(), line)
        for name, one, two in zip(names, values[earlier], values[line], strict=True):
            if abs(one - two) > AGREEMENT * max(abs(one), abs(two)):
                raise _bad(
                    path,
                    f"lines {earlier + 2} and {line + 2} are the same config, but "
                    f"'{name}' is {one:g} in one and {two:g} in the other",
                    hint="keep one of them, or their mean.",
                )
    kept = list(first.values())
    return values[kept], genes[kept]


def _bad(path: Path, what: str, hint: str = "") -> SearchError:
    return SearchError(
        f"the table '{path.name}' cannot be used: {what}.",
        why="A table has one column choice.NAME per choice, one column min.NAME or max.NAME per "
        "objective, and one complete line per config.",
        hint=hint or "choice.width,max.accuracy,min.latency as the first line.",
        path=str(path),
    )
