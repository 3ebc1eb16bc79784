"""Ctrl-C while a config is evaluated, or between trials; never while one is written.

Python raises KeyboardInterrupt wherever it happens to be: in the middle of a commit, or in a
clean-up that swallows it. So it is raised inside evaluations only, and else noted for later.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "held_interrupt"]


class Interrupt:
    """Whether Ctrl-C was pressed, and whether it may interrupt at once."""

    def __init__(self) -> None:
        self.asked = False
        self._is_allowed = False

    def raise_if_asked(self) -> None:
        """Raise the KeyboardInterrupt that was held back."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Inside, Ctrl-C interrupts at once."""
        self._is_allowed = True
        try:
            yield
        finally:
            self._is_allowed = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        is_second = self.asked
        self.asked = True
        if self._is_allowed or is_second:
            raise KeyboardInterrupt


@contextmanager
def held_interrupt() -> Iterator[Interrupt]:
    """Inside, Ctrl-C is held back where it is not allowed; pressed twice, it interrupts anyway.

    A handler that somebody else has set is left alone, and so is any thread but the main one,
    which Python gives no signals.
    """
    interrupt = Interrupt()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt._handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
