"""A PostgreSQL server of our own, from the programs of the operating system's package."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest


def programs():
    """The folder with ``initdb`` and ``pg_ctl``; None where the package is not installed."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*newest_first, *([Path(on_path).parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


def reason_to_skip():
    if programs() is None:
        return "PostgreSQL's server is not installed: apt-get install postgresql"
    if find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'supple[postgresql]'"
    if os.geteuid() == 0 and user() is None:
        return "PostgreSQL refuses root, and there is no other user"
    return ""


def user():
    """Who runs the server: this user, or another one where this is root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


needs_postgresql = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "-")


class Server:
    """A server in a folder of its own, that only this machine can reach."""

    def __init__(self, folder):
        self.folder, self.owner = folder, user()
        self.port = free_port()
        self.data = folder / "data"
        self.url = f"postgresql+psycopg://supple@127.0.0.1:{self.port}/postgres"
        self._call("initdb", "-D", self.data, "-U", "supple", "-A", "trust", "--no-sync")

    def start(self):
        options = f"-F -p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = self.folder / "log"
        self._call("pg_ctl", "-D", self.data, "-w", "-l", log, "-o", options, "start")
        return self

    def stop(self, mode="fast"):
        self._call("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def database(self, name):
        """The URL of a new database."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "supple"]
        self._call("createdb", *address, name)
        return self.url.removesuffix("postgres") + name

    def _call(self, program, *arguments):
        other = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [str(programs() / program), *map(str, arguments)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server keeps it open
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            **(other if os.geteuid() == 0 else {}),
        )
        assert done.returncode == 0, (program, done.stderr)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server():
    """A running server, gone afterwards. Not below pytest's folder, which only its owner enters."""
    folder = Path(tempfile.mkdtemp(prefix="supple-pg-"))
    owner = user()
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    try:
        running = Server(folder).start()
        try:
            yield running
        finally:
            with contextlib.suppress(AssertionError):  # the test may have stopped it
                running.stop("immediate")
    finally:
        shutil.rmtree(folder)
