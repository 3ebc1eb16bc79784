"""Which sizes the analysis knows at each module, in the full network and in a sub-network.

An attribute such as ``num_heads`` names the size of an axis. Which axes it can mean is read off
the literal sizes of the calls that the module's own code makes (the heads of a ``view``), off the
tensors it holds, its parts' included, and off what its calls return.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from supple.elastic._plan import Plan
from supple.trace import Axis, Edit, Padding, Resized, Structure, planned_edits
from supple.trace._axis import concat, product
from supple.trace._graph import module_path

__all__ = ["Candidate", "Sizes"]

_FARTHEST = 3  # levels of modules down which tensors still say what an attribute may mean


@dataclass(frozen=True)
class Candidate:
    """An axis expression that an attribute may name.

    Attributes:
        axis: The expression.
        distance: 0 for a literal of the module's own calls, else 1 and more for tensors further
            down the tree, and the farthest for what its own calls return.
        roles: What its parts are: ``"heads"``, ``"head_size"``, …
    """

    axis: Axis
    distance: int
    roles: frozenset[str]


class Sizes:
    """The sizes of one analysed model.

    Args:
        structure: What may vary in it.

    Attributes:
        structure: The same.
        calls: For each module the calls of its own code that differ in sub-networks, and how.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.calls: dict[str, list[tuple[fx.Node, Edit]]] = {}
        self._made: dict[str, list[fx.Node]] = {}
        for one in structure.analysis.captures:
            for node in one.calls:
                if structure.analysis.has_axes(node):
                    self._made.setdefault(module_path(node), []).append(node)
            for node, edit in planned_edits(structure, one).items():
                self.calls.setdefault(module_path(node), []).append((node, edit))
        self._tensors: dict[str, list[str]] = {}
        for name, first in structure.analysis.canonical.items():
            self._tensors.setdefault(name.rpartition(".")[0], []).append(first)
        self._known: dict[tuple[str, int], tuple[Candidate, ...]] = {}

    # -- candidates ---------------------------------------------------------------------------
    def named(self, path: str, size: int) -> tuple[Candidate, ...]:
        """What a number at a module may mean: expressions of that full size, the closest first.

        Args:
            path: The module.
            size: The number.
        """
        key = (path, size)
        if key not in self._known:
            found: dict[Any, Candidate] = {}
            for distance, axis in self._around(path):
                for part in _inside(axis):
                    if self._full(part) == size:
                        roles = frozenset(atom.role for atom in part.atoms() if atom.role)
                        found.setdefault(_identity(part), Candidate(part, distance, roles))
            self._known[key] = tuple(sorted(found.values(), key=lambda c: c.distance))
        return self._known[key]

    def named_at(self, paths: Sequence[str], size: int) -> tuple[Candidate, ...]:
        """The same at several modules together.

        Args:
            paths: The modules.
            size: The number.
        """
        if len(paths) == 1:
            return self.named(paths[0], size)
        found: dict[Any, Candidate] = {}
        for path in paths:
            for one in self.named(path, size):
                known = found.get(key := _identity(one.axis))
                if known is None or one.distance < known.distance:
                    found[key] = one
        return tuple(sorted(found.values(), key=lambda c: c.distance))

    def _around(self, path: str) -> Iterator[tuple[int, Axis]]:
        for _, edit in self.calls.get(path, ()):
            for value in edit.literals.values():
                if isinstance(value, Resized):
                    axes = (value.axes,) if isinstance(value.axes, Axis) else value.axes
                    yield from ((0, axis) for axis in axes if isinstance(axis, Axis))
        for owner, names in self._tensors.items():
            below = _levels_below(owner, path)
            if below is not None and below <= _FARTHEST:
                for name in names:
                    yield from ((1 + below, a) for a in self.structure.analysis.stored[name])
        for node in self._made.get(path, ()):
            axes = self.structure.analysis.axes_of(node)
            yield from ((2 + _FARTHEST, axis) for axis in axes)

    @staticmethod
    def _full(axis: Axis) -> int | None:
        if any(atom.is_runtime for atom in axis.atoms()):
            return None
        return axis.evaluate(lambda atom: atom.size)

    # -- a sub-network ------------------------------------------------------------------------
    def kept(self, axis: Axis, plan: Plan) -> int:
        """The size of an expression in a sub-network."""
        index = self.structure.index
        return axis.evaluate(lambda a: plan.counts[index[a]] if a in index else a.size)

    def literal(self, path: str, argument: str, plan: Plan) -> Any:
        """What a module's calls are given for an argument in a sub-network; None if unchanged."""
        for _, edit in self.calls.get(path, ()):
            value = edit.literals.get(argument)
            if isinstance(value, Padding):
                return value.at(plan.windows[value.index])
            if isinstance(value, Resized):
                if isinstance(value.axes, Axis):
                    return self.kept(value.axes, plan)
                if any(not isinstance(a, (int, Axis)) for a in value.axes):
                    return None  # a size that is worked out when the network runs
                return [self.kept(a, plan) if isinstance(a, Axis) else a for a in value.axes]
        return None

    def changes(self, plan: Plan) -> set[tuple[int, int]]:
        """All pairs (full size, kept size) of the dimensions of tensors and of their parts."""
        found = set()
        for axes in self.structure.analysis.stored.values():
            for axis in axes:
                for part in _inside(axis):
                    full = self._full(part)
                    if full is not None:
                        found.add((full, self.kept(part, plan)))
        return found


def _levels_below(owner: str, path: str) -> int | None:
    if owner == path:
        return 0
    prefix = f"{path}." if path else ""
    return owner[len(prefix) :].count(".") + 1 if owner.startswith(prefix) else None


def _inside(axis: Axis) -> Iterator[Axis]:
    """An expression, its runs of factors, its segments and its beginnings."""
    root = axis.find()
    yield root
    if root.kind == "product":
        factors = root.factors()
        for start in range(len(factors)):
            for stop in range(start + 1, len(factors) + 1):
                if stop - start < len(factors):
                    yield product(factors[start:stop])
        for factor in factors:
            if factor.kind == "concat":
                yield from _inside(factor)
    elif root.kind == "concat":
        segments = root.segments()
        for stop in range(2, len(segments)):
            yield concat(segments[:stop])
        for segment in segments:
            yield from _inside(segment)


def _identity(axis: Axis) -> Any:
    root = axis.find()
    if root.kind == "atom":
        return id(root)
    parts = root.factors() if root.kind == "product" else root.segments()
    return (root.kind, *map(_identity, parts))
