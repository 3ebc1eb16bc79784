"""A Ray cluster of its own on this machine, which outlives the drivers that join it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: supple[ray]")

BEGUN = "Ray runtime started"
PATIENCE_SECONDS = 120


@contextlib.contextmanager
def cluster(cpus, **environment):
    """The address of a cluster that ``ray start`` makes; all of it ends with the block.

    Ray asks for a token where the machine has one, unless ``RAY_AUTH_MODE`` says otherwise.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray makes sockets in it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={port}", f"--num-cpus={cpus}", f"--temp-dir={folder}"),
        *("--include-dashboard=false", "--disable-usage-stats"),
    ]
    with open(folder / "said", "w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_AUTH_MODE": "disabled", **environment},
            start_new_session=True,
        )
    try:
        wait(process, folder / "said")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of it
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait(process, said):
    """Until the cluster has begun."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while BEGUN not in said.read_text(encoding="utf-8"):
        assert process.poll() is None, said.read_text(encoding="utf-8")
        assert time.monotonic() < give_up, said.read_text(encoding="utf-8")
        time.sleep(0.1)
