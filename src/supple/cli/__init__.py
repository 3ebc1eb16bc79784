"""The command line, ``supple``: one file for each command, all heavy imports inside them.

A command returns an exit code (see :class:`Exit`) and raises SuppleError; ``_errors`` makes
messages of what is raised, ``_pipeline`` is all that is known here of the main job.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from supple.cli._bench_search import bench_search
from supple.cli._claims import claims
from supple.cli._compress import compress
from supple.cli._doctor import doctor
from supple.cli._errors import guarded
from supple.cli._exit import EPILOGUE, Exit
from supple.cli._export import export
from supple.cli._optimize import optimize
from supple.cli._papers import papers
from supple.cli._pipeline import remember_command
from supple.cli._report import report
from supple.cli._show import show
from supple.cli._tasks import tasks

__all__ = ["Exit", "app", "main"]


def _version() -> str:
    import supple

    return supple.__version__


app = App(
    name="supple",
    help="Find the sub-networks of any PyTorch model that are fast on this machine.",
    help_epilogue=EPILOGUE,
    version=_version,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
_COMMANDS: tuple[Callable[..., int], ...] = (
    optimize,
    compress,
    show,
    export,
    report,
    tasks,
    bench_search,
    doctor,
)
for _place, _command in enumerate(_COMMANDS):
    app.command(_command, sort_key=_place)
for _group in (papers, claims):
    app.command(_group)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    traceback: Annotated[
        bool, Parameter(negative=(), show_default=False, group="Everywhere")
    ] = False,
) -> int:
    """Run one command.

    Parameters
    ----------
    tokens
        The words of the command line.
    traceback
        Show where in the code an error came from.
    """
    remember_command(tokens)
    return guarded(lambda: app(tokens), traceback=traceback)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``supple`` with these arguments (those of the process by default).

    Returns:
        The exit code, see :class:`Exit`.

    Example:
        >>> main(["--version"])  # doctest: +SKIP
        0.1.0
        0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no "×" or "–" shows "?" there instead of ending the run.
            stream.reconfigure(errors="replace")
    return guarded(lambda: app.meta(sys.argv[1:] if arguments is None else list(arguments)))
