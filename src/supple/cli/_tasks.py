"""``supple tasks``: the tasks that come with supple."""

from __future__ import annotations

import dataclasses

from supple.cli import _pipeline
from supple.cli._exit import Exit
from supple.cli._options import AsJson

__all__ = ["tasks"]


def tasks(*, json: AsJson = False) -> int:
    """List the built-in tasks and their options.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    rows = _pipeline.tasks()
    if json:
        from supple.cli._summary import print_json

        print_json({"tasks": [dataclasses.asdict(row) for row in rows]})
        return Exit.OK
    for row in rows:
        print(f"{row.name}: {row.summary}")
        for name, default in row.options.items():
            given = "--model" if name == "model" else f"--option {name}="
            print(f"  {given:<24} default {default}")
    print("\nA file of your own works as well: supple optimize my_task.py")
    return Exit.OK
