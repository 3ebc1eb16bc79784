"""What every test runs under: one torch thread, and Hypothesis without a clock."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Processes that tests start find the same supple, installed or not.
SOURCES = str(Path(__file__).resolve().parents[1] / "src")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SOURCES, os.environ.get("PYTHONPATH"))))

# Started in the background, a shell has it ignore Ctrl-C; tests of Ctrl-C must not depend on that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared or slow machine must not fail a test, so nothing is timed.
settings.register_profile(
    "supple", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("supple")


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Tests run side by side: each keeps to one thread, if it uses torch at all."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
