"""What a claim measured, as hashes of source: so that a changed method marks its claim.

A claim's file is hashed, and everything it imports from supple by name: the class or function and
what of its own room it is built on. Comments, docstrings, annotations and layout do not count, nor
does the claim's prose; its rules and settings do. The engine that networks run in and the store of
trials are instruments and do not count either. Nothing is imported for it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from supple.errors import ClaimError

__all__ = ["changed", "fingerprint"]

_ROOT = Path(__file__).resolve().parents[2]

# Rooms that say nothing about what is measured.
_SILENT = ("supple.errors", "supple.progress", "supple.papers", "supple.claims._figure")
# What networks and trials are held in: tests of their own hold it to giving the model's own outputs
# and the trials as they were, so a faster engine leaves evidence as it is.
_INSTRUMENTS = ("supple.elastic._elastic", "supple.study", "supple.measure")
# How a claim is written and judged; a verdict is worked out anew whenever evidence is read.
_WORDING = ("supple.claims._claim", "supple.claims._rule")
_PROSE = {"says", "reported", "here", "tried", "figure"}
# Parts of the syntax tree that do not change what code does.
_IGNORED = {"ctx", "type_comment", "type_ignores", "kind", "returns", "annotation", "type_params"}


def fingerprint(path: Path, root: Path = _ROOT) -> dict[str, str]:
    """Name -> hash: ``claim`` for the file at ``path``, and each thing it imports from supple.

    Args:
        path: The file of a claim.
        root: The folder that holds the package ``supple``.
    """
    tree = _parsed(path)
    found = {"claim": _hash(_dump(tree))}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("supple"):
            continue
        for alias in node.names:
            thing = _resolved(node.module or "", alias.name, root)
            if not thing.module.startswith((*_SILENT, *_INSTRUMENTS, *_WORDING)):
                found[f"{thing.module}.{thing.name}".rstrip(".")] = _hash(_closure(thing, root))
    return dict(sorted(found.items()))


def changed(before: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    """What is new, gone or different between two fingerprints, by name.

    Example:
        >>> changed({"claim": "a", "x": "b"}, {"claim": "a", "x": "c"})
        ('x',)
    """
    names = sorted({*before, *now})
    return tuple(name for name in names if before.get(name) != now.get(name))


@dataclass(frozen=True)
class _Thing:
    """A name in a module, or a whole module where the name is empty."""

    module: str
    name: str


def _closure(start: _Thing, root: Path) -> str:
    """The source of a thing and of what it uses of its own room, each once, in a fixed order."""
    room = ".".join(start.module.split(".")[:2])
    waiting, texts = [start], dict[_Thing, str]()
    while waiting:
        thing = waiting.pop()
        if thing in texts:
            continue
        path = _file(thing.module, root)
        nodes = _definitions(path).get(thing.name, ()) if thing.name else (_parsed(path),)
        texts[thing] = "".join(_dump(node) for node in nodes)
        for node in nodes:
            waiting += _used(node, thing.module, path, room, root)
    return "\n".join(f"{t.module}.{t.name}:{texts[t]}" for t in sorted(texts, key=str))


def _used(node: ast.AST, module: str, path: Path, room: str, root: Path) -> Iterator[_Thing]:
    imports = _imports(path)
    for name in sorted(set(_names(node))):
        if name in _definitions(path):
            yield _Thing(module, name)
        elif name in imports and imports[name][0].startswith(room):
            thing = _resolved(*imports[name], root)
            if thing.module.startswith(room) and not thing.module.startswith(_WORDING):
                yield thing


def _resolved(module: str, name: str, root: Path) -> _Thing:
    """Where a name is defined, following what packages import to offer it."""
    for _ in range(8):
        path = _file(module, root)
        if name in _definitions(path):
            return _Thing(module, name)
        if _is_module(f"{module}.{name}", root):
            return _Thing(f"{module}.{name}", "")
        if name in _imports(path):
            module, name = _imports(path)[name]
        elif below := _below(module, name, path):
            module = below
        else:
            break
    raise ClaimError(
        f"cannot find where '{name}' of '{module}' is defined.",
        why="Evidence names what it measured by the source of what a claim imports.",
        hint="import it in the claim from the module that defines it.",
    )


def _below(module: str, name: str, path: Path) -> str:
    """The module inside a package that has ``name``, where the package looks names up itself."""
    if path.name != "__init__.py" or "__getattr__" not in _definitions(path):
        return ""
    for file in sorted([*path.parent.glob("[!_]*.py"), *path.parent.glob("[!_]*/__init__.py")]):
        if name in _definitions(file) or name in _imports(file):
            below = file.parent.name if file.name == "__init__.py" else file.stem
            return f"{module}.{below}"
    return ""


def _is_module(module: str, root: Path) -> bool:
    base = root.joinpath(*module.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _file(module: str, root: Path) -> Path:
    base = root.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _parsed(path: Path) -> ast.Module:
    return _read(path).tree


def _definitions(path: Path) -> dict[str, tuple[ast.AST, ...]]:
    """What a module defines at its top: classes, functions, constants."""
    return _read(path).definitions


def _imports(path: Path) -> dict[str, tuple[str, str]]:
    """Name -> (module, name there) of what a module imports from supple."""
    return _read(path).imports


@dataclass(frozen=True)
class _Source:
    tree: ast.Module
    definitions: dict[str, tuple[ast.AST, ...]]
    imports: dict[str, tuple[str, str]]


def _read(path: Path) -> _Source:
    try:
        return _read_version(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ClaimError(
            f"cannot read the source '{path}'.", hint="a whole installation of supple."
        ) from error


@cache
def _read_version(path: Path, changed_ns: int) -> _Source:
    """The file as it was at that time: a long process sees changes, and reads each once."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    definitions: dict[str, tuple[ast.AST, ...]] = {}
    for node in tree.body:
        for name in _defined(node):
            definitions[name] = (*definitions.get(name, ()), node)
    imports = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("supple")
        for alias in node.names
    }
    return _Source(tree, definitions, imports)


def _defined(node: ast.stmt) -> list[str]:
    """The names a statement at the top of a module defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
    return [name for name in names if name != "__all__"]


def _names(node: ast.AST) -> Iterator[str]:
    """Names that code reads; annotations do not count."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        if field in _IGNORED:
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _names(item)


def _dump(node: object) -> str:
    """A syntax tree as text that is the same in all versions of Python."""
    if isinstance(node, list):
        return "[" + ",".join(_dump(item) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for field, value in ast.iter_fields(node):
        if field in _IGNORED or value is None or value == []:
            continue
        if field == "body" and isinstance(value, list):
            value = _without_docstring(value)
        if field == "keywords" and _is_claim(node):
            value = [keyword for keyword in value if keyword.arg not in _PROSE]
        parts.append(f"{field}={_dump(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] if isinstance(first.value.value, str) else body
    return body


def _is_claim(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "claim"
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
