"""What implements a paper, found by reading the sources: nothing is imported, no torch loaded.

An implementation is a class or function at the top of a module under ``@implements(id, ...)``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Implementation", "implementations"]

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """A class or function that implements papers.

    Attributes:
        path: What to import, such as ``supple.search.LINAS``: the outermost package that offers it.
        papers: Ids in the catalogue.
        summary: First line of its docstring.
        example: The example of its docstring, as the docstring has it; empty without one.
    """

    path: str
    papers: tuple[int, ...]
    summary: str
    example: str


def implementations(paper: int | None = None) -> tuple[Implementation, ...]:
    """What implements ``paper``, or all implementations of all papers, by import path.

    Example:
        >>> from supple.papers import implementations
        >>> [found.path for found in implementations(75)]
        ['supple.elastic.training.SortedNet']
    """
    return tuple(found for found in _all(_PACKAGE) if paper is None or paper in found.papers)


@cache
def _all(package: Path) -> tuple[Implementation, ...]:
    found = [one for path in sorted(package.rglob("*.py")) for one in _in_file(path, package)]
    return tuple(sorted(found, key=lambda one: one.path))


def _in_file(path: Path, package: Path) -> Iterator[Implementation]:
    text = path.read_text(encoding="utf-8")
    if "@implements(" not in text:
        return
    for node in ast.parse(text, filename=str(path)).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        papers = tuple(id_ for mark in node.decorator_list for id_ in _cited(mark))
        if papers:
            doc = ast.get_docstring(node) or ""
            yield Implementation(
                path=f"{_offered_by(path, node.name, package)}.{node.name}",
                papers=papers,
                summary=doc.partition("\n")[0],
                example=_example(doc),
            )


def _cited(mark: ast.expr) -> Iterator[int]:
    """The ids in ``implements(76, ...)``; nothing for any other decorator."""
    if not isinstance(mark, ast.Call):
        return
    name = mark.func.attr if isinstance(mark.func, ast.Attribute) else None
    if isinstance(mark.func, ast.Name):
        name = mark.func.id
    if name == "implements":
        for argument in mark.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                yield argument.value


def _offered_by(path: Path, name: str, package: Path) -> str:
    """The outermost package that offers ``name`` of the module at ``path``, or the module.

    A package offers what it imports, and, where it looks up names when they are first used (the
    blocks), what its public modules list in ``__all__``.
    """
    best = module = _module(path, package)
    listed = _listed(path)
    for folder in path.parents:
        if not folder.is_relative_to(package) or folder == package:
            break
        init = folder / "__init__.py"
        here = _module(init, package)
        if (module, name) in _reexports(init):
            best, listed = here, _listed(init)
        elif _looks_up(init) and name in listed and best.rpartition(".")[0] == here:
            best = here
    return best


@cache
def _reexports(path: Path) -> frozenset[tuple[str, str]]:
    """Pairs of module and name that the package at ``path`` imports under the same name."""
    return frozenset(
        (node.module, alias.name)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname in (None, alias.name)
    )


@cache
def _listed(path: Path) -> frozenset[str]:
    """What a module lists in ``__all__``."""
    return frozenset(
        item.value
        for node in _tree(path).body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for item in ast.walk(node.value)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    )


def _looks_up(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        for node in _tree(path).body
    )


@cache
def _tree(path: Path) -> ast.Module:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return ast.parse(text, filename=str(path))


def _module(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _example(doc: str) -> str:
    """The lines of the ``Example:`` section of a docstring, without its indentation."""
    import textwrap

    _, heading, rest = doc.partition("\nExample:\n")
    if not heading:
        return ""
    lines = []
    for line in rest.splitlines():
        if line.strip() and not line.startswith(" "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip()
