"""A task in a user's Python file: found, checked for its parts, and its errors shown from there."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from supple.errors import SuppleError, TaskError, near_misses
from supple.tasks._options import checked_options, keyword_defaults
from supple.tasks._task import OPTIONAL_PARTS, PARTS, Task

__all__ = ["load_file"]

_SKELETON = """a file of this shape:
    def model(): return torch.nn.Sequential(...)      # the trained network
    def example(): return torch.zeros(1, 3, 32, 32)   # inputs it takes
    def train(): return train_loader                  # batches (inputs, targets)
    def valid(): return valid_loader
    def test(): return test_loader                    # optional: for the final result only
    loss = torch.nn.functional.cross_entropy
    def metric(outputs, targets): return outputs.argmax(1) == targets"""


def load_file(path: Path, object_name: str, options: Mapping[str, Any]) -> Task:
    """The task in the file ``path``.

    Without ``object_name`` it is the file's object ``task`` or else the file itself, whose
    functions are the parts. The object may be a ``Task``, a class or object with the parts, or a
    function that gives one of these; the function's arguments are then the task's options.
    Otherwise the options are the arguments of ``model``.
    """
    if not path.is_file():
        raise TaskError(
            f"There is no task file '{path}'.",
            hint=near_misses(path.name, [p.name for p in path.parent.glob("*.py")])
            if path.parent.is_dir()
            else f"there is no folder '{path.parent}' either; look at the path",
            path=str(path),
        )
    path = path.resolve()
    module = _run(path)
    found = _pick(module, path, object_name)
    if inspect.isclass(found):
        found = _shown(path, found.__name__, found)()
    elif inspect.isroutine(found):
        what = f"The task '{path.name}:{found.__name__}'"
        given = checked_options(what, keyword_defaults(found), options)
        found, options = _shown(path, found.__name__, found)(**given), {}
    if not isinstance(found, Task):
        return _assemble(found, path, options)
    checked_options(f"The task '{found.name}'", {}, options)
    return found


def _run(path: Path) -> ModuleType:
    """The file as a module, under a name of its own, so that two files never meet."""
    name = f"supple_task_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations look their module up there
    try:
        _shown(path, "", spec.loader.exec_module)(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _pick(module: ModuleType, path: Path, object_name: str) -> Any:
    if not object_name:
        return getattr(module, "task", module)
    if not hasattr(module, object_name):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise TaskError(
            f"The file '{path.name}' has no object '{object_name}'.",
            hint=near_misses(object_name, names),
            path=str(path),
        )
    return getattr(module, object_name)


def _assemble(found: Any, path: Path, options: Mapping[str, Any]) -> Task:
    parts = {part: getattr(found, part) for part in PARTS | OPTIONAL_PARTS if hasattr(found, part)}
    for part in PARTS:
        if part not in parts:
            raise _missing(part, found, path)
    model, given = _model(parts["model"], path, options)
    # A file without a docstring has none of its own; an object's class may have one.
    text = parts.get("description") or inspect.getdoc(found) or ""
    extra: dict[str, Any] = {
        part: _shown(path, part, parts[part])
        for part in ("prepare", "untrained", "pretrain")
        if parts.get(part) is not None
    }
    extra |= {
        part: _loader(parts[part], part, path)
        for part in ("test", "train_on_all")
        if parts.get(part) is not None
    }
    return Task(
        name=str(parts.get("name") or path.stem),
        description=str(text),
        model=model,
        example=_shown(path, "example", _as_function(parts["example"])),
        loss=_shown(path, "loss", _callable(parts["loss"], "loss", path)),
        metric=_shown(path, "metric", _callable(parts["metric"], "metric", path)),
        train=_loader(parts["train"], "train", path),
        valid=_loader(parts["valid"], "valid", path),
        **extra,
        defaults=dict(parts.get("defaults") or {}),
        options=given,
        source=path,
    )


def _model(
    model: Any, path: Path, options: Mapping[str, Any]
) -> tuple[Callable[[], nn.Module], dict[str, Any]]:
    """The function that makes the network, and the options it is called with."""
    what = f"The task '{path.name}'"
    if isinstance(model, nn.Module):
        checked_options(what, {}, options)
        return lambda: copy.deepcopy(model), {}
    make = _callable(model, "model", path)
    given = checked_options(what, keyword_defaults(make), options)

    def make_network() -> nn.Module:
        network = _shown(path, "model", make)(**given)
        if isinstance(network, nn.Module):
            return network
        raise TaskError(
            f"model() of '{path.name}' gave a {type(network).__name__}.",
            why=PARTS["model"] + ".",
            hint="return the network itself",
            path=str(path),
        )

    return make_network, given


def _loader(part: Any, name: str, path: Path) -> Callable[[], Any]:
    function = _as_function(part)

    def give() -> Any:
        batches = _shown(path, name, function)()
        if isinstance(batches, Iterator):
            return _Again(path, name, function)
        return batches

    return give


class _Again:
    """The batches of a generator function, which is called anew for every pass."""

    def __init__(self, path: Path, name: str, function: Callable[[], Any]) -> None:
        self._path, self._name, self._function = path, name, function

    def __iter__(self) -> Iterator[Any]:
        batches = self._function()
        while True:
            with _shown_from(self._path, self._name):
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch


def _as_function(part: Any) -> Callable[..., Any]:
    """A part given as a value, such as a DataLoader, stands for a function that gives it."""
    if inspect.isroutine(part) or isinstance(part, functools.partial):
        return part
    return lambda: part


def _callable(part: Any, name: str, path: Path) -> Callable[..., Any]:
    if callable(part):
        return part  # type: ignore[no-any-return]
    raise TaskError(
        f"'{name}' of '{path.name}' is a {type(part).__name__}, not a function.",
        why=PARTS[name] + ".",
        hint=_SKELETON,
        path=str(path),
        part=name,
    )


def _missing(part: str, found: Any, path: Path) -> TaskError:
    names = [n for n in vars(found) if not n.startswith("_")] if hasattr(found, "__dict__") else []
    unused = [n for n in names if n not in PARTS | OPTIONAL_PARTS]
    close = near_misses(part, unused)
    guess = f" ({close.removesuffix('?')} instead?)" if close.startswith("did you mean") else ""
    present = ", ".join(p for p in PARTS if hasattr(found, p)) or "none of the parts"
    return TaskError(
        f"The task '{path.name}' has no '{part}'{guess}.",
        why=f"{PARTS[part]}. The file has {present}.",
        hint=_SKELETON,
        path=str(path),
        part=part,
    )


def _shown(path: Path, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose errors are told with the line of the user's file they come from."""

    @functools.wraps(function, updated=())
    def shown(*args: Any, **kwargs: Any) -> Any:
        with _shown_from(path, part):
            return function(*args, **kwargs)

    return shown


@contextmanager
def _shown_from(path: Path, part: str) -> Iterator[None]:
    """Inside, the folder of the file can be imported from, as when the file is run by itself."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    except SuppleError:
        raise
    except Exception as error:
        raise _failed(path, part, error) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _failed(path: Path, part: str, error: Exception) -> TaskError:
    what = f"{part}() of '{path.name}'" if part else f"The task file '{path.name}'"
    line = _line_of(path, error)
    where = f" at line {line}" if line else ""
    source = linecache.getline(str(path), line).strip() if line else ""
    return TaskError(
        f"{what} failed{where}: {type(error).__name__}: {error}",
        why=f"Line {line} is: {source}" if source else "",
        hint=f"run it by itself: python {path.name}" if not part else "",
        path=str(path),
        line=line,
        part=part,
    )


def _line_of(path: Path, error: Exception) -> int | None:
    """The deepest line of the user's file on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None
