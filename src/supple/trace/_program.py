"""One Python function that runs every sub-network of a captured graph.

The function is generated once. Sizes that follow from axes are expressions over the kept counts
``k`` and the batch ``B``; residual branches stand under ``if d[i]``; a convolution's padding
follows its window ``c[i]``. So going from one sub-network to the next compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import fx

from supple.trace._analyse import Edit, Resized
from supple.trace._axis import Axis
from supple.trace._capture import Capture
from supple.trace._residual import Branch, is_written_later
from supple.trace._structure import Structure, conv_geometry

__all__ = ["Flag", "Padding", "Program", "planned_edits"]


class Flag:
    """A literal that is true in training mode."""


class Padding:
    """The padding of a convolution whose window is choice ``index``."""

    def __init__(self, index: int, full: int, padding: list[int], dilation: list[int]) -> None:
        self.index, self.full, self.padding, self.dilation = index, full, padding, dilation


_MODE_ARGUMENT = {
    "aten::batch_norm": "training",
    "aten::instance_norm": "use_input_stats",
    "aten::dropout": "train",
    "aten::dropout_": "train",
    "aten::feature_dropout": "train",
    "aten::feature_dropout_": "train",
    "aten::alpha_dropout": "train",
    "aten::alpha_dropout_": "train",
    "aten::feature_alpha_dropout": "train",
    "aten::feature_alpha_dropout_": "train",
}


def planned_edits(structure: Structure, one: Capture) -> dict[fx.Node, Edit]:
    """How each call of a graph differs from the captured one, for any config and mode."""
    analysis = structure.analysis
    edits = {}
    for node in one.calls:
        edit = analysis.edits.get(node)
        if edit is not None:
            edits[node] = Edit(edit.target, dict(edit.arguments), dict(edit.literals))
    if len(analysis.captures) == 1:
        for node in one.calls:
            mode = _mode_argument(node)
            if mode is not None and _edit(edits, node).arguments.get(mode) is False:
                _edit(edits, node).literals[mode] = Flag()
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
        target = node.target
        assert isinstance(target, torch._ops.OpOverload)
        names = [a.name for a in target._schema.arguments]
        given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        defaults = {
            a.name: a.default_value
            for a in target._schema.arguments
            if a.name not in given and a.has_default_value()
        }
        edits[node] = Edit(target, given | defaults, {})
    return edits[node]


class Program:
    """The generated function of one graph.

    Args:
        structure: What may vary.
        one: The graph.
        branches: The skippable branches of this graph, in the order of ``d``.

    Attributes:
        stored: Canonical names of the tensors the function takes, in order.
        source: The generated code, for reading and debugging.
    """

    def __init__(self, structure: Structure, one: Capture, branches: Sequence[Branch]) -> None:
        self._structure = structure
        self._one = one
        self._branches = list(branches)
        self._edits = planned_edits(structure, one)
        self._constants: list[Any] = []
        self._constant_names: dict[int, str] = {}
        self._lines: list[str] = []
        self.stored: list[str] = []
        self._emit_all()
        self.source = "\n".join(self._lines)
        namespace: dict[str, Any] = {"nan": math.nan, "inf": math.inf}
        namespace.update({f"K{i}": value for i, value in enumerate(self._constants)})
        code = compile(self.source, f"<supple program {id(self)}>", "exec")
        exec(code, namespace)
        self.run: Callable[..., list[Any]] = namespace["run"]

    # -- code ---------------------------------------------------------------------------------
    def _emit_all(self) -> None:
        graph_inputs = []
        canonical = self._structure.analysis.canonical
        body: list[str] = []
        for node, source in self._one.sources.items():
            if source.kind == "input":
                graph_inputs.append(node.name)
            elif node.users:
                body.append(f"    {node.name} = P[{len(self.stored)}]")
                self.stored.append(canonical.get(source.name, source.name))
        inputs = "".join(f", {name}" for name in graph_inputs)
        self._lines = [f"def run(P, k, d, c, training, B{inputs}):", *body]
        top = self._outermost(self._branches)
        self._emit_block(self._one.calls, top, indent=1)
        outputs = ", ".join(self._value(leaf) for leaf in self._one.outputs)
        self._lines.append(f"    return [{outputs}]")

    def _outermost(self, branches: Iterable[Branch]) -> list[Branch]:
        candidates = list(branches)
        return [b for b in candidates if not any(b.join in other.region for other in candidates)]

    def _emit_block(self, nodes: Sequence[fx.Node], branches: list[Branch], indent: int) -> None:
        deferred = {node for branch in branches for node in branch.region}
        joins = {branch.join: branch for branch in branches}
        steps = [node for node in nodes if node not in deferred]
        last = self._last_uses(nodes, steps, joins)
        pad = "    " * indent
        for node in steps:
            branch = joins.get(node)
            if branch is None:
                self._lines.append(f"{pad}{node.name} = {self._call(node)}")
            else:
                self._emit_branch(branch, indent)
            if done := last.get(node):
                self._lines.append(f"{pad}{' = '.join(sorted(done))} = None")

    def _emit_branch(self, branch: Branch, indent: int) -> None:
        pad = "    " * indent
        inner = [b for b in self._branches if b.join in branch.region]
        self._lines.append(f"{pad}if d[{self._branches.index(branch)}]:")
        self._emit_block(branch.region, self._outermost(inner), indent + 1)
        self._lines.append(f"{pad}    {branch.join.name} = {self._call(branch.join)}")
        copy = ".clone()" if is_written_later(branch.join) else ""
        self._lines.append(f"{pad}else:")
        self._lines.append(f"{pad}    {branch.join.name} = {branch.skip.name}{copy}")

    def _last_uses(
        self, nodes: Sequence[fx.Node], steps: list[fx.Node], joins: dict[fx.Node, Branch]
    ) -> dict[fx.Node, list[str]]:
        """Which values made in this block each step is the last to use."""
        mine = set(nodes)
        kept = {leaf for leaf in self._one.outputs if isinstance(leaf, fx.Node)}
        last: dict[fx.Node, fx.Node] = {}
        for step in steps:
            branch = joins.get(step)
            readers = (step, *branch.region) if branch else (step,)
            for reader in readers:
                for node in reader.all_input_nodes:
                    last[node] = step
        released: dict[fx.Node, list[str]] = {}
        made = set(steps)
        for node, step in last.items():
            if node in made and node in mine and node not in kept and node is not step:
                outside = [u for u in node.users if u not in mine]
                if not outside:
                    released.setdefault(step, []).append(node.name)
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
        if isinstance(value, Padding):
            halves = (
                f"{p} - {d} * ({value.full} - c[{value.index}]) // 2"
                for p, d in zip(value.padding, value.dilation, strict=True)
            )
            return f"[{', '.join(halves)}]"
        if isinstance(value, Resized):
            if isinstance(value.axes, Axis):
                return self.size_of(value.axes)
            return f"[{', '.join(map(self.size_of, value.axes))}]"
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
            return f"slice({self._value(value.start)}, {self._value(value.stop)}, None)"
        if value is None or isinstance(value, (bool, int, float, str)):
            return repr(value)
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        key = id(value)
        if key not in self._constant_names:
            self._constant_names[key] = f"K{len(self._constants)}"
            self._constants.append(value)
        return self._constant_names[key]
