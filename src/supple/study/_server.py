"""The lock of a study on a PostgreSQL server.

An advisory lock belongs to a connection: the server gives it back when the driver's process or
its machine is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from supple.errors import StudyError
from supple.study.storage import PATIENCE, Location, explained, require_psycopg

__all__ = ["server_lock"]

# The server needs a moment to notice that a driver was killed.
PATIENCE_SECONDS = 5.0


@contextlib.contextmanager
def server_lock(location: Location, name: str) -> Iterator[Callable[[], None]]:
    """Hold the advisory lock of study ``name`` in the server's database.

    Gives a function that raises a StudyError if the lock was lost, because the server was
    restarted for instance: another driver may have it by then.

    Raises:
        StudyError: Another driver holds it, or the server cannot be reached.
    """
    require_psycopg(location)
    with explained(location):
        engine = create_engine(location.url, poolclass=NullPool, connect_args=dict(PATIENCE))
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with explained(location):
            _acquire(connection, location, name)

        def check() -> None:
            with explained(location):
                connection.execute(text("SELECT 1"))

        yield check
    finally:
        # Closing gives the lock back; a server that is gone has done so.
        with contextlib.suppress(Exception):
            connection.close()
        engine.dispose()


def _acquire(connection: Connection, location: Location, name: str) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    key = _key(name)
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
        if time.monotonic() > give_up:
            raise StudyError(
                f"study '{name}' at {location} is being driven by {_holder(connection, key)}.",
                why="One driver writes; a second one would measure the same configs again.",
                hint="wait for it or stop it; Study.load(storage) reads the study while it runs.",
            )
        time.sleep(0.05)


def _key(name: str) -> int:
    """A number of 64 bits, signed, for a name."""
    return int.from_bytes(hashlib.sha256(f"supple {name}".encode()).digest()[:8], signed=True)


def _holder(connection: Connection, key: int) -> str:
    """Who holds the lock, as the server knows them."""
    rows = connection.execute(
        text(
            "SELECT a.client_addr, a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
            "AND ((l.classid::bigint << 32) | l.objid::bigint) = :key "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        {"key": key},
    ).first()
    if rows is None:
        return "another process"
    where = "this machine" if rows[0] is None else str(rows[0])
    return f"a process on {where} (backend {rows[1]} of the server)"
