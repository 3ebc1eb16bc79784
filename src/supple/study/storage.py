"""Opening the storage of a study, and saying what is wrong with it when something is.

SQLite by default, in one file, with the rollback journal and full synchronisation: what was
committed is on the disk, whenever the power goes. (Not the write-ahead log: before 3.51.3 SQLite
can corrupt such a database with two writers.)
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from supple.errors import MissingExtraError, StudyError

__all__ = [
    "PATIENCE",
    "Location",
    "check_storage",
    "explained",
    "make_folder",
    "open_storage",
    "quiet",
    "require_psycopg",
]

# A reader (a dashboard, a backup) may hold the file for a moment; so long a write waits.
BUSY_SECONDS = 60.0

# Seconds to wait for a server, for each of its addresses; and milliseconds until a connection
# that no longer answers, because a cable was pulled for instance, counts as broken.
PATIENCE = {"connect_timeout": 4, "keepalives_idle": 30, "tcp_user_timeout": 60_000}


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a study is stored.

    Args:
        url: The database URL; empty for memory.
        path: The file of an SQLite database, otherwise None.
    """

    url: str = ""
    path: Path | None = None

    @property
    def is_postgresql(self) -> bool:
        """Whether it is a PostgreSQL server."""
        return bool(self.url) and make_url(self.url).get_backend_name() == "postgresql"

    @property
    def has_lock(self) -> bool:
        """Whether its driver holds a lock that goes with it."""
        return self.path is not None or self.is_postgresql

    @classmethod
    def of(cls, storage: str | os.PathLike[str] | None) -> Location:
        """The location that a URL, a plain path, or None (memory) names."""
        if storage is None:
            return cls()
        text = os.fspath(storage)
        if "://" not in text:
            path = Path(text).absolute()
            return cls(url=f"sqlite:///{path}", path=path)
        try:
            url = make_url(text)
        except ArgumentError:
            raise StudyError(
                f"the storage {text!r} is not a database URL.",
                hint='use a path ("runs/digits/study.db"), "sqlite:///runs/digits/study.db" or '
                '"postgresql+psycopg://user@host/name".',
            ) from None
        if url.get_backend_name() != "sqlite":
            return cls(url=_with_driver(url))
        if url.database in (None, "", ":memory:"):
            return cls()
        return cls(url=text, path=Path(str(url.database)).absolute())

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        # A URL may hold a password, which no message should.
        return make_url(self.url).render_as_string() if self.url else "memory"


def check_storage(storage: str | os.PathLike[str] | None) -> None:
    """Raise a StudyError, within ten seconds, if there is no server at a database URL.

    A long job asks this before it begins; a file needs no asking.
    """
    location = Location.of(storage)
    if location.url and location.path is None:
        open_storage(location, create=True)


def open_storage(location: Location, *, create: bool) -> BaseStorage:
    """The Optuna storage at a location.

    Args:
        location: Where it is.
        create: Make the file and its folder if they are not there.

    Raises:
        StudyError: If it is not there, damaged, or cannot be opened.
    """
    if not location.url:
        return InMemoryStorage()
    if location.path is None:
        return _open_server(location)
    if create:
        make_folder(location.path)
    _check_file(location.path, must_exist=not create)
    with explained(location), quiet():
        # A connection is opened per transaction and kept by nobody: forks inherit none.
        return RDBStorage(
            "sqlite:///study.db",  # never opened: the next line says how to connect
            engine_kwargs={"creator": lambda: _connect(location.path), "poolclass": NullPool},
            skip_table_creation=not create,
        )


def _open_server(location: Location) -> BaseStorage:
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if location.is_postgresql:
        require_psycopg(location)
        settings["connect_args"] = dict(PATIENCE)
    try:
        with explained(location), quiet():
            storage = RDBStorage(location.url, engine_kwargs=settings)
    except ImportError as problem:
        raise StudyError(
            f"the storage {location} needs a database driver that is not installed.",
            why=f"{problem}.",
            hint="pip install it, or use a SQLite file or a PostgreSQL server.",
        ) from None
    # Its connections are kept for the next transaction, and closed with it.
    weakref.finalize(storage, storage.engine.dispose)
    return storage


def require_psycopg(location: Location) -> None:
    """Raise MissingExtraError if the driver of PostgreSQL is not installed."""
    if "psycopg" in make_url(location.url).drivername and find_spec("psycopg") is None:
        raise MissingExtraError.of("psycopg", "postgresql", f"The storage {location}")


def _with_driver(url: URL) -> str:
    """The URL with the driver that supple installs, where it names none."""
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def _connect(path: Path | None) -> sqlite3.Connection:
    assert path is not None
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=DELETE").close()
    connection.execute("PRAGMA synchronous=FULL").close()
    return connection


def make_folder(path: Path) -> None:
    """Make the folder of a database file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StudyError(
            f"the folder {path.parent} for the study cannot be made.",
            why=f"{problem.strerror}.",
            hint="choose a folder you may write to.",
        ) from None


def _check_file(path: Path, *, must_exist: bool) -> None:
    """Raise a StudyError if the file is damaged."""
    location = Location(url=f"sqlite:///{path}", path=path)
    if not path.exists():
        if must_exist:
            raise StudyError(
                f"there is no study file {path}.",
                hint="check the path, or run the search that makes it.",
                path=str(path),
            )
        return
    if path.is_dir():
        raise StudyError(f"the storage {path} is a folder.", hint=f"name a file: {path}/study.db.")
    with explained(location), contextlib.closing(_connect(path)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found is None or found[0] != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {found}")


@contextlib.contextmanager
def explained(location: Location) -> Iterator[None]:
    """Turn what the database says into a StudyError that says what to do."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, sqlite3.Error) as problem:
        raise _explain(location, problem) from problem
    except RuntimeError as problem:
        if "table schema" not in str(problem):
            raise
        raise StudyError(
            f"the study at {location} was made by another version of Optuna.",
            why=str(problem).splitlines()[0],
            hint="pip install the Optuna it was made with, or `optuna storage upgrade`.",
        ) from problem


# What SQLite says, what it means, and what to do about it.
_MEANINGS = (
    (
        ("disk is full", "disk I/O error"),
        "cannot be written to: the disk is full or failing",
        "make room and repeat the command; all finished trials are kept.",
    ),
    (
        ("malformed", "not a database", "no such table", "no such column"),
        "is damaged or was not written by supple",
        "restore a copy of the file, or choose another storage to start anew.",
    ),
    (
        ("database is locked",),
        f"has been locked by another program for {BUSY_SECONDS:g} seconds",
        "close the program that holds it, and repeat the command.",
    ),
    (
        (
            "connection timeout",
            "onnection refused",
            "failed to resolve",
            "could not translate host",
            "timeout expired",
            "server closed the connection",
            "consuming input failed",
            "connection is lost",
            "connection is closed",
            "terminating connection",
            "the database system is",
        ),
        "cannot be reached",
        "check the address and that the server runs, and repeat the command; all finished trials "
        "are kept.",
    ),
    (
        ("readonly database", "unable to open"),
        "cannot be opened for writing",
        "check the permissions of the file and its folder.",
    ),
)


def _explain(location: Location, problem: BaseException) -> StudyError:
    deepest: BaseException = problem
    while (cause := getattr(deepest, "orig", None) or deepest.__cause__) is not None:
        deepest = cause
    text = " ".join(str(deepest).split()).rstrip(".")
    for signs, meaning, hint in _MEANINGS:
        if any(sign in text for sign in signs):
            return StudyError(
                f"the study at {location} {meaning}.",
                why=f"The database says: {text}.",
                hint=hint,
                storage=str(location),
            )
    return StudyError(
        f"the study at {location} cannot be read or written.",
        why=f"The database says: {text}.",
        hint="check that the address is right and the server can be reached.",
        storage=str(location),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing on stderr what our caller is told by us."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
