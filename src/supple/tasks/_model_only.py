"""A task's model and example alone, for those who want to look at a model and not to train it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import nn

from supple.errors import TaskError
from supple.tasks._load import _has_object, load
from supple.tasks._options import checked_options, keyword_defaults
from supple.tasks._task import Task
from supple.tasks._user_file import _as_function, _pick, _run, _shown, load_file

__all__ = ["load_model"]


def load_model(name: str, **options: Any) -> tuple[str, nn.Module, Any]:
    """The name, the model and the example inputs of a task.

    Args:
        name: A built-in task, or ``path/to/file.py``, or ``path/to/file.py:object``. A file need
            not be a whole task: ``model`` and ``example`` are enough. The object may be a task,
            a model, or a function or class that gives a model.
        **options: Options of the task.

    Raises:
        TaskError: There is no such task, or it has no model or no example.

    Example:
        >>> name, model, example = load_model("digits")
        >>> name, tuple(example[0].shape[1:])
        ('digits', (1, 8, 8))
    """
    if not (_has_object(name) or name.endswith(".py")):
        task = load(name, **options)
        return task.name, _untrained(task), task.example()
    path, _, object_name = name.rpartition(":") if _has_object(name) else (name, "", "")
    return _from_file(Path(path), object_name, options)


def _untrained(task: Task) -> nn.Module:
    """The network; its weights do not matter here, so nothing is trained for it."""
    return task.model() if task.untrained is None else task.untrained()


def _from_file(path: Path, object_name: str, options: dict[str, Any]) -> tuple[str, nn.Module, Any]:
    if not path.is_file():
        load_file(path, object_name, options)  # says what is there instead
    path = path.resolve()
    module = _run(path)
    found = _pick(module, path, object_name)
    what = f"The task '{path.name}'"
    if inspect.isclass(found) or inspect.isroutine(found):
        given = checked_options(what, keyword_defaults(found), options)
        found, options = _shown(path, found.__name__, found)(**given), {}
    if isinstance(found, Task):
        return found.name, _untrained(found), found.example()
    if isinstance(found, nn.Module):
        model = found
    else:
        make = _part(found, "model", path)
        given = checked_options(what, keyword_defaults(make), options) if options else {}
        model = _shown(path, "model", make)(**given)
    if not isinstance(model, nn.Module):
        raise TaskError(
            f"model() of '{path.name}' gave a {type(model).__name__}.",
            hint="return the network itself",
            path=str(path),
        )
    holder = found if hasattr(found, "example") and not isinstance(found, nn.Module) else module
    example = _shown(path, "example", _part(holder, "example", path))()
    return object_name or path.stem, model, example


def _part(holder: Any, name: str, path: Path) -> Any:
    if not hasattr(holder, name):
        raise TaskError(
            f"'{path.name}' has no '{name}'.",
            why="A report needs the network and inputs for it.",
            hint="a file of this shape:\n"
            "    def model(): return torch.nn.Sequential(...)\n"
            "    def example(): return torch.zeros(1, 3, 32, 32)   # inputs it takes",
            path=str(path),
            part=name,
        )
    part = getattr(holder, name)
    return (lambda: part) if isinstance(part, nn.Module) else _as_function(part)
