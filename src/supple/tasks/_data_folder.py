"""Where data sets lie: in the folder ``SUPPLE_DATA`` names, or in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supple.errors import DataError

__all__ = ["find", "place_for", "read_npz", "to_put_by_hand", "write_npz"]


def find(name: str) -> Path | None:
    """The file ``name`` (``set/file``) in one of the folders, or None."""
    return next((path for folder in _folders() if (path := folder / name).is_file()), None)


def place_for(name: str) -> Path:
    """Where a file that has to be made goes: the first of the folders that can be written to."""
    for folder in _folders():
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        if os.access(existing, os.W_OK):
            return folder / name
    raise DataError(
        f"There is no folder to keep '{name}' in.",
        why=f"Tried were {', '.join(str(f) for f in _folders())}; none can be written to.",
        hint="SUPPLE_DATA=/a/folder/of/yours",
    )


def to_put_by_hand(name: str, url: str) -> str:
    """What to do where ``url`` cannot be reached, for an error's hint."""
    return (
        f"download {url} on a machine that reaches it, put it at {name} in a folder, "
        "and set SUPPLE_DATA to that folder"
    )


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file.

    Raises:
        DataError: It is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, zlib and numpy each have errors of their own
        raise DataError(
            f"The file '{path}' cannot be read: {error}.",
            why="It is truncated or damaged.",
            hint="delete it, and it is fetched again; or put an intact copy in its place",
            path=str(path),
        ) from error


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """Write arrays to a file, whole or not at all.

    Raises:
        DataError: The disk is full or refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"The file '{path}' cannot be written: {error.strerror or error}.",
            hint="make room, or set SUPPLE_DATA to a folder that has it",
            path=str(path),
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _folders() -> list[Path]:
    named = os.environ.get("SUPPLE_DATA")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path(folder).expanduser() for folder in (named, Path(cache) / "supple") if folder]
