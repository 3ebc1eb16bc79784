"""Debian's chromium without a window: opens a file, tells what became of it."""

import shutil
import subprocess

import pytest

# Nothing of the browser's own goes out either: no updates, no sync, no names resolved.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
)
# Scripts have this long, in the browser's own time, which runs ahead while nothing happens.
SCRIPTS_MS = 5000

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="chromium is not installed (apt-get install chromium)"
)


def open_page(file, profile, *options, width=1280, height=1600):
    """Open ``file`` in a fresh profile; returns what the browser printed."""
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        f"--virtual-time-budget={SCRIPTS_MS}",
        *options,
        file.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()
