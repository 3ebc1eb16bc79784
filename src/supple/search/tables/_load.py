"""A table by its path: a CSV file, or an object in a Python file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from supple.errors import SearchError, near_misses
from supple.search.tables._csv_table import read_csv
from supple.search.tables._file_table import read_object
from supple.search.tables._table import RecordedTable

__all__ = ["load_table", "shipped_tables"]


# Tables of supple's own, made by benchmarks/make_tables.py.
SHIPPED = Path(__file__).parent / "data"


def shipped_tables() -> list[str]:
    """The names of the tables that come with supple.

    Example:
        >>> from supple.search.tables import shipped_tables
        >>> "digits_subnets" in shipped_tables()
        True
    """
    return sorted(path.stem for path in SHIPPED.glob("*.csv"))


def load_table(
    source: str | Path,
    *,
    objectives: Iterable[str] | None = None,
    exact: Iterable[str] | None = None,
) -> RecordedTable:
    r"""A table by its name, or in a file.

    Args:
        source: One of ``shipped_tables()``; a CSV file with a column ``choice.NAME`` per choice
            and a column ``min.NAME`` or ``max.NAME`` per objective; or ``file.py:object``, where
            the object has ``space()``, ``evaluate(config)``, ``directions``, ``reference`` and,
            where it is known, ``best_hypervolume`` (each may be a value or a function without
            arguments).
        objectives: Which of the objectives count, in this order; None for all.
        exact: Objectives that are counted from the config, not measured; None takes those named
            ``macs``, ``flops``, ``params`` or ``parameters``.

    Raises:
        SearchError: The file is not there or is no table; it says which line or part.

    Example:
        >>> import pathlib, tempfile
        >>> from supple.search.tables import load_table
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "small.csv"
        >>> _ = path.write_text("choice.width,max.accuracy,min.macs\n8,0.7,10\n16,0.8,20\n")
        >>> table = load_table(path)
        >>> table.space.size, table.directions, table.exact
        (2, {'accuracy': 'max', 'macs': 'min'}, ('macs',))
    """
    text = str(source)
    path_text, _, name = text.rpartition(":") if ".py:" in text else (text, "", "")
    path = SHIPPED / f"{text}.csv" if text in shipped_tables() else Path(path_text)
    if not path.is_file():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SearchError(
            f"there is no table at '{path}'.",
            why=f"The tables that come with supple are {', '.join(shipped_tables())}.",
            hint=near_misses(path.name, [*shipped_tables(), *there]),
            path=str(path),
        )
    wanted = None if exact is None else tuple(exact)
    table = _read(path, name, wanted if objectives is None else ())
    if objectives is not None:
        table = table.only(tuple(objectives), exact=wanted)
    return replace(table, source=text)


def _read(path: Path, name: str, wanted: tuple[str, ...] | None) -> RecordedTable:
    if path.suffix == ".py":
        return read_object(path, name, wanted)
    if path.suffix.lower() != ".csv":
        raise SearchError(
            f"'{path.name}' is no table.",
            why="A table is a .csv file or an object in a .py file.",
            hint="results.csv, or tables.py:my_table.",
            path=str(path),
        )
    return read_csv(path, wanted)
