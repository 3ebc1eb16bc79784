"""Files that are there whole or not at all.

Everything is written into a hidden folder beside the target, synced, and renamed into place
when the caller is content; whatever happens before that leaves the target as it was.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supple.errors import ExportError

__all__ = ["placing", "sync", "write_bytes"]


@contextmanager
def placing(target: Path) -> Iterator[Path]:
    """Yields the path to write instead of ``target``; what lies beside it moves along."""
    if target.is_dir():
        raise ExportError(
            f"'{target}' is a folder.", hint=f"name a file in it: '{target / 'network'}.onnx'"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target.name}."
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield folder / target.name
        _move(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, target: Path) -> None:
    """Renames every file of ``folder``, the target last: it stands for all of them."""
    others = sorted(path for path in folder.iterdir() if path.name != target.name)
    try:
        for path in (*others, folder / target.name):
            os.replace(path, target.parent / path.name)
        sync(target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Writes and syncs one file."""
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path, error, len(data)) from error


def sync(path: Path) -> None:
    """Makes a folder's or a file's last change survive a power cut, where the system can."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        # Windows opens no folders; it writes their entries through.
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(path: Path, error: OSError, size: int | None = None) -> ExportError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    needed = f" ({size:,} bytes)" if size is not None else ""
    return ExportError(
        f"'{path.name}'{needed} could not be written: {error.strerror or error}.",
        why="Nothing was left behind; an older file of that name is as it was.",
        hint="free some space, or name a path on another disk"
        if full
        else f"choose a folder you may write to instead of '{path.parent}'",
        path=str(path),
        errno=error.errno,
    )
