"""One driver at a time: a lock file beside an SQLite file, an advisory lock of a server.

The lock of a file is the operating system's (``flock``) and goes with the process; that of a
PostgreSQL server goes with the connection. So a killed driver leaves none behind. The file says
who drives, for the error that a second driver gets.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supple.errors import StudyError

if TYPE_CHECKING:
    from supple.study.storage import Location

if sys.platform != "win32":
    import fcntl

__all__ = ["is_alive", "only_driver", "this_process"]

Owner = dict[str, Any]

# Children that a killed driver left behind keep its lock until they notice; this long we wait.
PATIENCE_SECONDS = 10.0


def this_process() -> Owner:
    """Who we are: host, process id, and when the process started, which no later one shares."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "start": _start(pid), "boot": _boot()}


def is_alive(owner: Owner) -> bool:
    """Whether the process that ``owner`` names still runs on this host."""
    if owner.get("host") != socket.gethostname() or owner.get("boot") != _boot():
        return False
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as another user
    return owner.get("start") == _start(pid)


def _start(pid: int) -> str:
    """When a process started, in ticks since boot; empty where the system does not tell."""
    try:
        # The name in parentheses may hold blanks; the 22nd field is the 20th after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A killed process stays as a zombie until its parent looks.
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@contextlib.contextmanager
def only_driver(location: Location, name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a study; one in memory needs none.

    Gives a function that raises a StudyError if the lock was lost.

    Raises:
        StudyError: If another live driver holds it.
    """
    if location.is_postgresql:
        from supple.study._server import server_lock

        with server_lock(location, name) as check:
            yield check
        return
    path = location.path
    if path is None or sys.platform == "win32":
        yield _nothing
        return
    lock = path.with_name(path.name + ".lock")
    descriptor = _acquire(lock, name)
    try:
        yield _nothing
    finally:
        # Removed while held: whoever waits for it finds the file gone and makes a new one.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _nothing() -> None:
    """The lock of a file is not lost while its process lives."""


def _acquire(lock: Path, name: str) -> int:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        descriptor = _try(lock)
        if descriptor is not None:
            return descriptor
        owner = _owner(lock)
        # An empty file is being written this moment.
        if (owner and is_alive(owner)) or time.monotonic() > give_up:
            raise _second_driver(lock, name, owner)
        time.sleep(0.05)


def _try(lock: Path) -> int | None:
    """The locked file with our name in it, or None if somebody else has it."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as problem:
        raise StudyError(
            f"the lock file {lock} cannot be made.",
            why=f"{problem.strerror}.",
            hint="choose a folder you may write to.",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(lock).st_ino == os.fstat(descriptor).st_ino:
            os.truncate(descriptor, 0)
            with contextlib.suppress(OSError):  # only for messages; a full disk is told later
                os.write(descriptor, json.dumps(this_process()).encode())
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _owner(lock: Path) -> Owner:
    try:
        found = json.loads(lock.read_text() or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _second_driver(lock: Path, name: str, owner: Owner) -> StudyError:
    who = f"process {owner.get('pid')} on {owner.get('host')}" if owner else "another process"
    return StudyError(
        f"study '{name}' is being driven by {who}.",
        why="One driver writes; a second one would measure the same configs again.",
        hint="wait for it or stop it; Study.load(storage) reads the study while it runs.",
        lock=str(lock),
        owner=owner,
    )
