"""A table by its path: a CSV file, or an object in a Python file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from supple.errors import SearchError, near_misses
from supple.search.tables._csv_table import read_csv
from supple.search.tables._file_table import read_object
from supple.search.tables._table import RecordedTable

__all__ = ["load_table"]


def load_table(source: str | Path, *, exact: Iterable[str] | None = None) -> RecordedTable:
    r"""The table in a file.

    Args:
        source: A CSV file with a column ``choice.NAME`` per choice and a column ``min.NAME`` or
            ``max.NAME`` per objective; or ``file.py:object``, where the object has ``space()``,
            ``evaluate(config)``, ``directions``, ``reference`` and, where it is known,
            ``best_hypervolume`` (each may be a value or a function without arguments).
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
    path = Path(path_text)
    if not path.is_file():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SearchError(
            f"there is no table at '{path}'.",
            hint=near_misses(path.name, there) if there else f"is '{path.parent}' a folder?",
            path=str(path),
        )
    wanted = None if exact is None else tuple(exact)
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
