"""From exceptions to messages and exit codes: four parts on stderr, no traceback unless asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from cyclopts.exceptions import CycloptsError

from supple.cli._exit import Exit
from supple.errors import NoCandidateError, SuppleError

__all__ = ["guarded", "print_error"]


def guarded(command: Callable[[], int | None], *, traceback: bool = False) -> int:
    """Run a command and turn what it raises on purpose into a message and an exit code.

    Anything else is a defect, of supple or of the user's own task, and keeps its traceback.
    """
    try:
        return command() or Exit.OK
    except CycloptsError as error:
        _print_usage(error)
        return Exit.USAGE
    except SuppleError as error:
        if traceback:
            _print_traceback()
        print_error(error)
        return Exit.NO_CANDIDATE if isinstance(error, NoCandidateError) else Exit.ERROR
    except KeyboardInterrupt:
        _print("Interrupted; what was finished is saved.", "the same command goes on from it.")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has had enough. Python would complain again when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def print_error(error: SuppleError) -> None:
    """Print an error to stderr: what was asked and found, why it cannot be, what to try."""
    _print(error.message, error.hint, why=error.why, code=error.code)


def _print_usage(error: CycloptsError) -> None:
    chain = error.command_chain or ()
    command = " ".join(["supple", *(name for name in chain if name != "supple")])
    _print(str(error), f"{command} --help", code="usage")


def _print(message: str, hint: str, *, why: str = "", code: str = "") -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text()
    if code:
        text.append(f"error ({code})", style="bold red")
        text.append(": ")
    text.append(message, style="bold")
    # Texts, never markup: a message may hold brackets that mean nothing to rich.
    for label, part in (("why", why), ("try", hint)):
        if part:
            text.append(f"\n  {label}: ", style="dim")
            text.append(part)
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
