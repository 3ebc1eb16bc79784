"""One Python function that runs every sub-network of a captured graph.

The function is generated once. Sizes that follow from axes are expressions over the kept counts
``k`` and the batch ``B``; calls of residual branches stand under ``if d[i]``, in the order of the
model; a convolution's padding follows its window ``c[i]``. So going from one sub-network to the
next compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from supple.trace._analyse import Edit, Resized
from supple.trace._axis import Axis
from supple.trace._capture import Capture
from supple.trace._graph import ENTER_AUTOCAST, EXIT_AUTOCAST, module_path, named_arguments
from supple.trace._residual import Branch
from supple.trace._structure import Structure, conv_geometry
from supple.trace._swap import CHOOSE

__all__ = ["Average", "Flag", "Padding", "Program", "Rate", "planned_edits"]


class Flag:
    """A literal that is true in training mode."""


class Rate:
    """A rate of dropout in training mode; 0 in evaluation."""

    def __init__(self, rate: float) -> None:
        self.rate = rate


class Padding:
    """The padding of a convolution whose window is choice ``index``."""

    def __init__(self, index: int, full: int, padding: list[int], dilation: list[int]) -> None:
        self.index, self.full, self.padding, self.dilation = index, full, padding, dilation

    def at(self, window: int) -> list[int]:
        """The padding for a window."""
        return [
            p - d * (self.full - window) // 2
            for p, d in zip(self.padding, self.dilation, strict=True)
        ]


class Average:
    """The momentum of a batch norm whose statistics are plain averages: 1 / batches so far."""

    def __init__(self, counter: str) -> None:
        self.counter = counter


_MODE_ARGUMENT = {
    "aten::batch_norm": "training",
    "aten::instance_norm": "use_input_stats",
    **{
        f"aten::{kind}dropout{end}": "train"
        for kind in ("", "feature_", "alpha_", "feature_alpha_")
        for end in ("", "_")
    },
}


def planned_edits(structure: Structure, one: Capture) -> dict[fx.Node, Edit]:
    """How each call of a graph differs from the captured one, for any config and mode."""
    analysis = structure.analysis
    edits = {}
    for node in one.calls:
        edit = analysis.edits.get(node)
        if edit is not None:
            edits[node] = Edit(edit.target, dict(edit.arguments), dict(edit.literals))
    for node in one.calls:
        mode, path = _mode_argument(node), module_path(node)
        if mode is None:
            continue
        if one.is_alone and path in one.switching and named_arguments(node)[mode] is False:
            _edit(edits, node).literals[mode] = Flag()
        if path in one.averaging:
            counter = analysis.canonical[f"{path}.num_batches_tracked".lstrip(".")]
            _edit(edits, node).literals["momentum"] = Average(counter)
    for node, rate in one.rates.items():
        _edit(edits, node).literals["dropout_p"] = Rate(rate)
    for i, kernel in enumerate(structure.kernels):
        for node in kernel.nodes:
            if node.graph is one.graph:
                padding, dilation = conv_geometry(node)
                _edit(edits, node).literals["padding"] = Padding(i, kernel.size, padding, dilation)
    return edits


def _mode_argument(node: fx.Node) -> str | None:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return None
    return _MODE_ARGUMENT.get(target._schema.name)


def _edit(edits: dict[fx.Node, Edit], node: fx.Node) -> Edit:
    if node not in edits:
        edits[node] = Edit(node.target, named_arguments(node), {})
    return edits[node]


class Program:
    """The generated function of one graph.

    Args:
        structure: What may vary.
        one: The graph.
        branches: The skippable branches and the alternatives of swap points of this graph, in the
            order of ``d``.
        device: Where the model was when it was captured.

    Attributes:
        stored: Canonical names of the tensors the function takes, in order.
        source: The generated code, for reading and debugging.
        run: ``run(P, k, d, c, training, B, *inputs)`` gives the leaves of the output: P are the
            stored tensors, k counts, d whether each branch is there, c windows, B the batch.
    """

    def __init__(
        self,
        structure: Structure,
        one: Capture,
        branches: Sequence[Branch],
        device: torch.device,
    ) -> None:
        self._structure = structure
        self._one = one
        self._device = device
        self._joins: dict[fx.Node, tuple[int, Branch]] = {}
        self._swaps: dict[fx.Node, list[tuple[int, Branch]]] = {}
        for i, branch in enumerate(branches):
            if branch.join.target is CHOOSE:
                self._swaps.setdefault(branch.join, []).append((i, branch))
            else:
                self._joins[branch.join] = i, branch
        self._guards = self._guards_of(branches)
        self._readers: dict[str, list[tuple[int, ...]]] = {}
        self._edits = planned_edits(structure, one)
        self._constants: list[Any] = []
        self._constant_names: dict[int, str] = {}
        self._lines: list[str] = []
        self._open: tuple[int, ...] = ()
        self._depth = 1
        self.stored: list[str] = []
        self._emit_all()
        self.source = "\n".join(self._lines)
        self._namespace: dict[str, Any] = {"nan": math.nan, "inf": math.inf, "DEVICE": device}
        self._namespace["AUTOCAST"] = torch.autocast
        self._namespace.update({f"K{i}": value for i, value in enumerate(self._constants)})
        exec(compile(self.source, "<supple program>", "exec"), self._namespace)
        self.run: Callable[..., list[Any]] = self._namespace["run"]

    def reads(self, name: str, kept: Sequence[bool]) -> bool:
        """Whether some call reads a stored tensor, given which branches are there."""
        guards = self._readers.get(name, [()])
        return any(all(kept[i] for i in needed) for needed in guards)

    def move(self, device: torch.device) -> None:
        """Tensors the graph makes are made there from now on."""
        self._namespace["DEVICE"] = device

    @staticmethod
    def _guards_of(branches: Sequence[Branch]) -> dict[fx.Node, tuple[int, ...]]:
        guards: dict[fx.Node, tuple[int, ...]] = {}
        for i, branch in enumerate(branches):
            for node in branch.region:
                guards[node] = (*guards.get(node, ()), i)
        return guards

    # -- code ---------------------------------------------------------------------------------
    def _emit_all(self) -> None:
        canonical = self._structure.analysis.canonical
        inputs, heads = [], []
        for node, source in self._one.sources.items():
            if source.kind == "input":
                inputs.append(node.name)
            elif node.users:
                name = canonical[source.name]
                heads.append(f"    {node.name} = {self._stored(name)}")
                readers = self._readers.setdefault(name, [])
                readers += [self._guards.get(user, ()) for user in node.users]
        last = self._last_uses()
        for node in self._one.calls:
            self._emit(node)
            if done := last.get(node):
                self._line(f"{' = '.join(sorted(done))} = None")
        self._guard(())
        self._line(f"return [{', '.join(self._value(leaf) for leaf in self._one.outputs)}]")
        given = "".join(f", {name}" for name in inputs)
        self._lines[:0] = [f"def run(P, k, d, c, training, B{given}):", *heads]

    def _stored(self, name: str) -> str:
        if name not in self.stored:
            self.stored.append(name)
        return f"P[{self.stored.index(name)}]"

    def _guard(self, guards: tuple[int, ...]) -> None:
        """What follows runs only with all these branches."""
        if guards != self._open:
            self._open = ()
            if guards:
                self._line(f"if {' and '.join(f'd[{i}]' for i in guards)}:")
        self._open = guards

    def _line(self, code: str) -> None:
        self._lines.append("    " * (self._depth + bool(self._open)) + code)

    def _emit(self, node: fx.Node) -> None:
        self._guard(self._guards.get(node, ()))
        if node.target is ENTER_AUTOCAST:
            kind, dtype, enabled, cache = map(self._value, node.args)
            self._line(f"with AUTOCAST({kind}, {dtype}, {enabled}, {cache}):")
            self._depth += 1
            self._line("pass")
            return
        if node.target is EXIT_AUTOCAST:
            self._depth -= 1
            return
        if node in self._swaps:
            for rank, (index, branch) in enumerate(self._swaps[node]):
                copy = ".clone()" if branch.needs_copy else ""
                self._line(f"{'elif' if rank else 'if'} d[{index}]:")
                self._line(f"    {node.name} = {branch.skip.name}{copy}")
            return
        if node not in self._joins:
            self._line(f"{node.name} = {self._call(node)}")
            return
        index, branch = self._joins[node]
        copy = ".clone()" if branch.needs_copy else ""
        self._line(f"if d[{index}]:")
        self._line(f"    {node.name} = {self._call(node)}")
        self._line("else:")
        self._line(f"    {node.name} = {branch.skip.name}{copy}")

    def _last_uses(self) -> dict[fx.Node, list[str]]:
        """Which values each call is the last to use; stored tensors and inputs are left."""
        calls = self._one.calls
        last: dict[fx.Node, fx.Node] = {}
        for node in calls:
            for operand in node.all_input_nodes:
                last[operand] = node
        made, kept = set(calls), {leaf for leaf in self._one.outputs if isinstance(leaf, fx.Node)}
        released: dict[fx.Node, list[str]] = {}
        for operand, node in last.items():
            if operand in made and operand not in kept:
                released.setdefault(node, []).append(operand.name)
        return released

    # -- expressions --------------------------------------------------------------------------
    def _call(self, node: fx.Node) -> str:
        edit = self._edits.get(node)
        if edit is None:
            arguments = [self._value(a) for a in node.args]
            arguments += [f"{k}={self._value(v)}" for k, v in node.kwargs.items()]
            return f"{self._constant(node.target)}({', '.join(arguments)})"
        parts = []
        for parameter in edit.target._schema.arguments:
            if parameter.name in edit.literals:
                text = self._literal(edit.literals[parameter.name])
            elif parameter.name in edit.arguments:
                text = self._value(edit.arguments[parameter.name])
            else:
                continue
            parts.append(f"{parameter.name}={text}" if parameter.kwarg_only else text)
        return f"{self._constant(edit.target)}({', '.join(parts)})"

    def _literal(self, value: Any) -> str:
        if isinstance(value, Flag):
            return "training"
        if isinstance(value, Rate):
            return f"{value.rate!r} if training else 0.0"
        if isinstance(value, Average):
            return f"1.0 / max(1.0, float({self._stored(value.counter)})) if training else 0.0"
        if isinstance(value, Padding):
            halves = (
                f"{p} - {d} * ({value.full} - c[{value.index}]) // 2"
                for p, d in zip(value.padding, value.dilation, strict=True)
            )
            return f"[{', '.join(halves)}]"
        if isinstance(value, Resized):
            if isinstance(value.axes, Axis):
                return self.size_of(value.axes)
            sizes = (
                self._value(a) if isinstance(a, fx.Node) else self.size_of(a) for a in value.axes
            )
            return f"[{', '.join(sizes)}]"
        return self._value(value)

    def size_of(self, axis: Axis | int) -> str:
        """The size of an axis as an expression over ``k`` and ``B``."""
        if isinstance(axis, int):
            return str(axis)
        root = axis.find()
        if root.kind == "atom":
            if root.is_runtime:
                return "B"
            index = self._structure.index.get(root)
            return str(root.size) if index is None else f"k[{index}]"
        if not root.parts:
            return "1"
        parts = [self.size_of(part) for part in root.parts]
        if all(part.isdigit() for part in parts):
            numbers = map(int, parts)
            return str(sum(numbers) if root.kind == "concat" else math.prod(numbers))
        return f"({(' + ' if root.kind == 'concat' else ' * ').join(parts)})"

    def _value(self, value: Any) -> str:
        if isinstance(value, fx.Node):
            if value.op == "get_attr":
                owner = value.graph.owning_module
                return self._constant(getattr(owner, str(value.target)))
            return value.name
        if isinstance(value, (list, tuple)):
            items = ", ".join(map(self._value, value))
            return f"[{items}]"
        if isinstance(value, slice):
            return f"slice({', '.join(map(self._value, (value.start, value.stop, value.step)))})"
        if value is None or isinstance(value, (bool, int, float, str)):
            return repr(value)
        if isinstance(value, torch.device) and value == self._device:
            return "DEVICE"
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        key = id(value)  # held by the graph, and not everything in it can be hashed
        if key not in self._constant_names:
            self._constant_names[key] = f"K{len(self._constants)}"
            self._constants.append(value)
        return self._constant_names[key]
