"""What may vary in a model: its elastic axes, stages and kernels, with names and members."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from supple.trace._analyse import Analysis
from supple.trace._axis import Axis
from supple.trace._residual import Stage, find_parts, find_stages, find_swaps
from supple.trace._swap import SwapSite

__all__ = ["ElasticAxis", "ElasticKernel", "FixedAxis", "Member", "Structure"]


@dataclass(frozen=True)
class Member:
    """One dimension of a stored tensor that an axis cuts."""

    tensor: str
    dim: int


@dataclass(frozen=True)
class ElasticAxis:
    """Dimensions that must be cut together.

    Attributes:
        name: Name of the choice: the first parameter it cuts, and what it is there.
        role: ``"width"``, ``"heads"``, ``"head_size"``, ``"groups"`` or ``"experts"``.
        size: Number of indices in the full network.
        axis: The atom.
        members: Every dimension of a parameter or buffer that contains the atom.
        least: Fewest indices that the graph can do with.
    """

    name: str
    role: str
    size: int
    axis: Axis
    members: tuple[Member, ...]
    least: int = 1


@dataclass(frozen=True)
class FixedAxis:
    """A dimension of a parameter that may not be cut, and why."""

    name: str
    size: int
    operator: str
    reason: str
    where: str


@dataclass(frozen=True)
class ElasticKernel:
    """A square convolution window of which the centre may be used alone.

    Attributes:
        name: Qualified name of the convolution.
        weight: Canonical name of its weight.
        size: Full window size, odd.
        least: Smallest window for which no padding gets negative.
        nodes: The convolution calls, over all graphs.
    """

    name: str
    weight: str
    size: int
    least: int
    nodes: tuple[fx.Node, ...]


class Structure:
    """The elastic parts of an analysed model.

    Args:
        analysis: The finished analysis.
        parameters: Canonical names of the parameters (the rest are buffers), in model order.

    Attributes:
        axes: What may be cut.
        stages: What may be left out: layers, blocks.
        parts: Within their layers: all attentions, all MLPs.
        swaps: What may be one of several.
        kernels: What may have a smaller window.
    """

    def __init__(self, analysis: Analysis, parameters: Iterable[str]) -> None:
        self.analysis = analysis
        self.parameters = tuple(parameters)
        self.axes = self._elastic_axes()
        self.index = {axis.axis: i for i, axis in enumerate(self.axes)}
        self.stages: list[Stage] = find_stages(analysis)
        self.parts: list[Stage] = find_parts(analysis, self.stages)
        self.swaps: list[SwapSite] = find_swaps(analysis)
        self.kernels = self._kernels()

    # -- axes ---------------------------------------------------------------------------------
    def _elastic_axes(self) -> list[ElasticAxis]:
        members: dict[Axis, list[Member]] = {}
        positions: dict[Axis, tuple[str, int, int]] = {}
        names = set(self.parameters)
        used = self._used()
        for tensor, dim, atom, rank in self._walk():
            if atom.reason is None and not atom.is_runtime and atom.size > 1 and tensor in used:
                members.setdefault(atom, [])
                if Member(tensor, dim) not in members[atom]:
                    members[atom].append(Member(tensor, dim))
                if tensor in names and (atom not in positions):
                    positions[atom] = (tensor, dim, rank)
        for atom in list(members):
            if atom not in positions:
                del members[atom]
        labels = _labels({a: positions[a] for a in members})
        return [
            ElasticAxis(
                labels[atom], atom.role or "width", atom.size, atom, tuple(found), atom.least
            )
            for atom, found in members.items()
        ]

    def _used(self) -> set[str]:
        """Stored tensors that some call reads."""
        used = set()
        for one in self.analysis.captures:
            for node, source in one.sources.items():
                if node.users and source.kind != "input":
                    used.add(self.analysis.canonical.get(source.name, source.name))
        return used

    def _walk(self) -> Iterator[tuple[str, int, Axis, int]]:
        """Every (tensor, dimension, atom, rank of the atom in the dimension), parameters first.

        Output dimensions (0) come before the others, so that an axis is named by what makes it.
        """
        parameters = [n for n in self.parameters if n in self.analysis.stored]
        ordered = dict.fromkeys([*parameters, *self.analysis.stored])
        for first in (True, False):
            for tensor in ordered:
                for dim, axis in enumerate(self.analysis.stored[tensor]):
                    if (dim == 0) is first:
                        for rank, atom in enumerate(axis.atoms()):
                            yield tensor, dim, atom, rank

    def fixed(self) -> list[FixedAxis]:
        """Every dimension of a parameter larger than one that has a fixed part, and why."""
        found = []
        used = self._used()
        for name in self.parameters:
            if name not in used:
                size = math.prod(axis.size for axis in self.analysis.stored[name])
                found.append(FixedAxis(name, size, "none", "no call uses it", ""))
                continue
            for dim, axis in enumerate(self.analysis.stored.get(name, ())):
                for atom in axis.atoms():
                    if atom.reason is not None and atom.size > 1:
                        reason = atom.reason
                        found.append(
                            FixedAxis(
                                f"{name}[{dim}]",
                                atom.size,
                                reason.operator,
                                reason.text,
                                reason.where,
                            )
                        )
        return found

    # -- kernels ------------------------------------------------------------------------------
    def _kernels(self) -> list[ElasticKernel]:
        calls: dict[str, list[fx.Node]] = {}
        unfit: set[str] = set()
        for one in self.analysis.captures:
            for node, source in one.sources.items():
                if source.kind != "parameter" or len(node.meta["val"].shape) < 3:
                    continue
                name = self.analysis.canonical[source.name]
                for user in node.users:
                    if _may_shrink(user, node):
                        calls.setdefault(name, []).append(user)
                    else:
                        unfit.add(name)
        return [
            ElasticKernel(
                name.removesuffix(".weight"),
                name,
                _window(nodes[0])[0],
                max(map(_least_window, nodes)),
                tuple(nodes),
            )
            for name, nodes in calls.items()
            if name not in unfit
        ]


_CONVOLUTIONS = {
    torch.ops.aten.conv1d.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv3d.default,
}


def _window(node: fx.Node) -> list[int]:
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    return [int(n) for n in weight.meta["val"].shape[2:]]


def _may_shrink(node: fx.Node, weight: fx.Node) -> bool:
    if node.target not in _CONVOLUTIONS or node.args[1] is not weight:
        return False
    window = _window(node)
    if len(set(window)) != 1 or window[0] % 2 == 0 or window[0] < 3:
        return False
    return _least_window(node) < window[0]


def _least_window(node: fx.Node) -> int:
    padding, dilation = conv_geometry(node)
    steps = min(p // d for p, d in zip(padding, dilation, strict=True))
    return max(1, _window(node)[0] - 2 * steps)


def conv_geometry(node: fx.Node) -> tuple[list[int], list[int]]:
    """Padding and dilation of a convolution call, one number for each spatial dimension."""
    rank = len(_window(node))
    defaults: list[Any] = [None, None, None, [1], [0], [1], 1]
    given = [*node.args, *defaults[len(node.args) :]]
    padding, dilation = given[4], given[5]
    return [list(v) * rank if len(v) == 1 else list(v) for v in (padding, dilation)]  # type: ignore[return-value]


def _labels(positions: dict[Axis, tuple[str, int, int]]) -> dict[Axis, str]:
    """``conv1.width``; several atoms of one dimension are told apart by role, then by number."""
    wanted: dict[Axis, str] = {}
    for atom, (tensor, dim, _) in positions.items():
        module = tensor.removesuffix(".weight").removesuffix(".bias")
        role = atom.role or "width"
        wanted[atom] = f"{module}.{role}" if dim == 0 else f"{module}.{role}_in"
    counts: dict[str, int] = {}
    for label in wanted.values():
        counts[label] = counts.get(label, 0) + 1
    seen: dict[str, int] = {}
    labels = {}
    for atom, label in wanted.items():
        if counts[label] > 1:
            seen[label] = seen.get(label, 0) + 1
            labels[atom] = f"{label}{seen[label]}"
        else:
            labels[atom] = label
    return labels
