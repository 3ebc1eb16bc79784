"""``supple doctor``: whether this machine can do the main job, and how well it can measure."""

from __future__ import annotations

import dataclasses

from supple.cli._exit import Exit
from supple.cli._options import AsJson

__all__ = ["doctor"]

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "bold red")}


def doctor(*, json: AsJson = False) -> int:
    """Check this machine: versions, extras, data, disk, timer and how noisy it measures.

    Ends with 1 where the main job cannot run.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    from supple.cli._checks import Check, run_checks

    checks: list[Check] = []
    for check in run_checks():
        checks.append(check)
        if not json:
            _print(check.name, check.state, check.found, check.hint)
    is_fit = all(check.state != "problem" for check in checks)
    if json:
        from supple.cli._summary import print_json

        print_json({"ok": is_fit, "checks": [dataclasses.asdict(check) for check in checks]})
    return Exit.OK if is_fit else Exit.ERROR


def _print(name: str, state: str, found: str, hint: str) -> None:
    from rich.console import Console
    from rich.text import Text

    mark, style = _MARKS[state]
    text = Text.assemble((mark, style), f" {name:<14}", found)
    if hint:
        text.append(f"\n  {'':<14}try: {hint}", style="dim")
    Console(highlight=False, soft_wrap=True).print(text)
