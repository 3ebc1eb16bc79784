"""Tasks by name: the built-in ones, and those in a user's file."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from supple.errors import TaskError, near_misses
from supple.tasks._options import checked_options
from supple.tasks._task import Task, TaskCard

__all__ = ["available", "load"]


def load(name: str, **options: Any) -> Task:
    """The task called ``name``, or the one in a user's file.

    Args:
        name: A built-in task such as ``digits``, or ``path/to/file.py``, or
            ``path/to/file.py:object`` where the task is one of several objects of the file.
        **options: Options of the task; see ``available()`` for those of the built-in ones.

    Raises:
        TaskError: There is no such task or option, or the file lacks a part or fails.

    Example:
        >>> from supple.tasks import load
        >>> task = load("digits")
        >>> inputs, targets = next(iter(task.valid()))
        >>> tuple(inputs.shape[1:])
        (1, 8, 8)
    """
    path, _, object_name = name.rpartition(":") if _has_object(name) else (name, "", "")
    if path.endswith(".py"):
        from supple.tasks._user_file import load_file

        return load_file(Path(path), object_name, options)
    cards = {card.name: card for card in available()}
    if name not in cards:
        raise _unknown(name, list(cards))
    known = cards[name].options
    module = importlib.import_module(f"supple.tasks.{name}")
    task: Task = module.task(**checked_options(f"The task '{name}'", known, options))
    return task


def available() -> tuple[TaskCard, ...]:
    """The built-in tasks, sorted by name. Nothing is imported for this but their source read."""
    return tuple(sorted(_cards(), key=lambda card: card.name))


def _cards() -> Iterator[TaskCard]:
    for path in Path(__file__).parent.glob("[!_]*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        maker = next(
            node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "task"
        )
        names = [argument.arg for argument in maker.args.kwonlyargs]
        defaults = [ast.literal_eval(d) for d in maker.args.kw_defaults if d is not None]
        yield TaskCard(
            name=path.stem,
            summary=(ast.get_docstring(tree) or "").split("\n")[0],
            options=dict(zip(names, defaults, strict=True)),
        )


def _has_object(name: str) -> bool:
    # "C:\\tasks\\mine.py" has a colon that separates nothing.
    path, colon, object_name = name.rpartition(":")
    return bool(colon) and path.endswith(".py") and not object_name.endswith(".py")


def _unknown(name: str, known: list[str]) -> TaskError:
    if Path(name).with_suffix(".py").exists():
        hint = f"the file: '{Path(name).with_suffix('.py')}'"
    else:
        hint = f"{near_misses(name, known)} Or the path of a file of your own, 'my_task.py'."
    return TaskError(
        f"There is no task '{name}'.",
        why=f"Built in are {', '.join(known)}.",
        hint=hint,
        task=name,
    )
