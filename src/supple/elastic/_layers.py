"""The layers of a model in the order they are called, with what may vary about each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from supple.space import Choice
from supple.trace import Axis, Structure
from supple.trace._graph import named_arguments
from supple.trace._sizes import is_unknown, plain_shape

__all__ = ["LayerRow", "layer_rows", "macs_of"]


@dataclass(frozen=True)
class LayerRow:
    """One layer: a call that reads weights of two or more dimensions.

    Attributes:
        name: The module that holds the weights, or the parameter itself.
        operator: What is called: ``"conv2d"``, ``"linear"``, …
        width: Size of its output features.
        least: The smallest that the choices offer; ``width`` where it cannot vary.
        choices: The choices that decide the width.
        reason: Why the width cannot vary; empty where it can, or where no choice is offered.
        block: The residual block it is part of that may be skipped; empty if there is none.
        params: Number of its weights.
        macs: Multiply-accumulates per sample.
    """

    name: str
    operator: str
    width: int
    least: int
    choices: tuple[str, ...]
    reason: str
    block: str
    params: int
    macs: int


# -- multiply-accumulates -----------------------------------------------------------------------
def _shape(node: object) -> tuple[int, ...]:
    assert isinstance(node, fx.Node)
    value = node.meta["val"]
    value = value[0] if isinstance(value, (tuple, list)) else value
    return tuple(1 if is_unknown(n) else n for n in plain_shape(value))


def _of_linear(node: fx.Node) -> int:
    return math.prod(_shape(node)) * _shape(node.args[1])[-1]


def _of_convolution(node: fx.Node) -> int:
    weight = _shape(node.args[1])
    spread = "transpose" in str(node.target)
    return math.prod(_shape(node.args[0] if spread else node)) * math.prod(weight[1:])


def _of_product(first: int) -> Callable[[fx.Node], int]:
    def count(node: fx.Node) -> int:
        return math.prod(_shape(node)) * _shape(node.args[first])[-1]

    return count


def _of_attention(node: fx.Node) -> int:
    given = named_arguments(node)
    query, key, value = (_shape(given[name]) for name in ("query", "key", "value"))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_COUNTED: dict[str, Callable[[fx.Node], int]] = {
    "linear": _of_linear,
    **{f"conv{n}d": _of_convolution for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _of_convolution for n in (1, 2, 3)},
    **dict.fromkeys(("matmul", "mm", "bmm", "mv"), _of_product(0)),
    **dict.fromkeys(("addmm", "baddbmm"), _of_product(1)),
    "scaled_dot_product_attention": _of_attention,
}


def _operator(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.removeprefix("aten::")
    return getattr(target, "__name__", str(target))


def _macs(node: fx.Node) -> int:
    count = _COUNTED.get(_operator(node))
    return 0 if count is None else count(node)


def _samples(structure: Structure) -> int:
    """The batch of the captured graph."""
    return max(1, structure.analysis.batch_axis.size)


def macs_of(structure: Structure, choices: Mapping[str, Choice]) -> tuple[int, int]:
    """Multiply-accumulates per sample, and those of calls that some choice may change."""
    offered = _Offered(structure, choices)
    total = elastic = 0
    for node in structure.analysis.captures[0].calls:
        macs = _macs(node)
        total += macs
        if macs and offered.varies(node):
            elastic += macs
    samples = _samples(structure)
    return total // samples, elastic // samples


# -- what may vary ------------------------------------------------------------------------------
class _Offered:
    """What the choices of a space can change about calls and axes."""

    def __init__(self, structure: Structure, choices: Mapping[str, Choice]) -> None:
        self._structure = structure
        self._choices = choices
        self._atoms = {axis.axis: axis.name for axis in structure.axes if axis.name in choices}
        self._blocks = {
            node: block.name
            for stage in structure.stages
            if f"{stage.name}.depth" in choices
            for block in stage.blocks
            for branch in block.branches
            for node in branch.region
        }
        self._kernels = {
            node
            for kernel in structure.kernels
            if f"{kernel.name}.kernel" in choices
            for node in kernel.nodes
        }

    def varies(self, node: fx.Node) -> bool:
        """Some size of the call may vary, or it may be skipped."""
        analysis = self._structure.analysis
        known = [n for n in (node, *node.all_input_nodes) if analysis.has_axes(n)]
        axes = (axis for n in known for axis in analysis.axes_of(n))
        return (
            node in self._blocks
            or node in self._kernels
            or any(atom in self._atoms for axis in axes for atom in axis.atoms())
        )

    def block(self, node: fx.Node) -> str:
        """The skippable block that a call is part of."""
        return self._blocks.get(node, "")

    def of(self, axis: Axis) -> tuple[str, ...]:
        """The choices that decide the size of an axis."""
        found = (self._atoms[atom] for atom in axis.atoms() if atom in self._atoms)
        return tuple(dict.fromkeys(found))

    def least(self, axis: Axis) -> int:
        """The smallest size that an axis may have."""

        def smallest(atom: Axis) -> int:
            name = self._atoms.get(atom)
            return atom.size if name is None else int(self._choices[name].options[0])

        return axis.evaluate(smallest)


def layer_rows(
    structure: Structure, choices: Mapping[str, Choice], sizes: Mapping[str, int]
) -> tuple[LayerRow, ...]:
    """The layers of the evaluation graph.

    Args:
        structure: What may vary.
        choices: What is offered of it.
        sizes: Number of weights of every parameter, by canonical name.
    """
    one = structure.analysis.captures[0]
    offered = _Offered(structure, choices)
    rows: dict[str, LayerRow] = {}
    for node in one.calls:
        for source in node.all_input_nodes:
            place = one.sources.get(source)
            if place is None or place.kind != "parameter":
                continue
            tensor = structure.analysis.canonical[place.name]
            is_wide = sum(a.size > 1 for a in structure.analysis.stored[tensor]) > 1
            name = tensor.rpartition(".")[0] if tensor.endswith(".weight") else tensor
            if is_wide and name not in rows:
                rows[name] = _row(structure, offered, node, tensor, name, sizes)
    return tuple(rows.values())


def _row(
    structure: Structure,
    offered: _Offered,
    node: fx.Node,
    tensor: str,
    name: str,
    sizes: Mapping[str, int],
) -> LayerRow:
    operator = _operator(node)
    axes = structure.analysis.stored[tensor]
    axis = axes[_output_dimension(operator, axes)]
    choices = offered.of(axis)
    reason = next((a.reason for a in axis.atoms() if a.reason is not None), None)
    beside = [tensor, f"{name}.bias"]
    return LayerRow(
        name=name,
        operator=operator,
        width=axis.size,
        least=offered.least(axis),
        choices=choices,
        reason=f"{reason.operator}: {reason.text}" if reason and not choices else "",
        block=offered.block(node),
        params=sum(sizes.get(one, 0) for one in beside),
        macs=_macs(node) // _samples(structure),
    )


def _output_dimension(operator: str, axes: Collection[Axis]) -> int:
    if operator == "linear" or (operator.startswith("conv") and "transpose" not in operator):
        return 0
    if operator.startswith("conv_transpose"):
        return 1
    return len(axes) - 1
