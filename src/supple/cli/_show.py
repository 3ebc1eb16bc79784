"""``supple show RUN``: what a run found."""

from __future__ import annotations

from pathlib import Path

from supple.cli._exit import Exit
from supple.cli._options import AsJson

__all__ = ["show"]


def show(run: Path, /, *, json: AsJson = False, markdown: bool = False) -> int:
    """Show what a run found: baseline against pick, and what was cut.

    Parameters
    ----------
    run
        The folder of the run, such as runs/digits.
    json
        Print one JSON object, with baseline and pick in plain numbers.
    markdown
        Print a page of Markdown, for a repository or a wiki.
    """
    from supple.cli._summary import print_json, print_summary, summary_data
    from supple.report import Result

    result = Result.load(run)
    folder = run if run.is_dir() else run.parent
    if json:
        print_json(summary_data(result, folder))
        return Exit.OK
    if markdown:
        from supple.report import render_markdown

        print(render_markdown(result), end="")
        return Exit.OK
    from rich.console import Console

    print_summary(result, folder, Console(highlight=False))
    return Exit.OK
