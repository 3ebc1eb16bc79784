"""Writing a file whole or not at all: a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from supple.errors import StudyError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path``; whoever looks sees the old file or the new one, never half.

    Raises:
        StudyError: The folder cannot be written or the disk is full; the old file is untouched.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _forget(temporary)
        raise StudyError(
            f"cannot write '{path}': {error.strerror or error}.",
            why="A file that was there before is unchanged.",
            hint="free some space, or choose another folder with --out.",
            path=str(path),
        ) from error
    except BaseException:
        _forget(temporary)
        raise


def _forget(temporary: Path) -> None:
    # The folder itself may be unwritable; the error that led here is the one worth telling.
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
