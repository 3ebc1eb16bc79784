"""Depth: residual branches that may be skipped, and the blocks and stages they make up.

In ``y = x + f(x)``, where nothing else uses what ``f`` computes, the branch ``f`` may be left out.
Branches inside one repeated module (``layer1.3``, ``encoder.layer.7``) are one block; the blocks
of one container on one residual stream are a stage, whose depth is a choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx

from supple.trace._analyse import Analysis
from supple.trace._capture import Capture

__all__ = ["Block", "Branch", "Stage", "find_stages"]


@dataclass(frozen=True)
class Branch:
    """One skippable residual branch of one graph.

    Attributes:
        join: The addition.
        skip: The operand that stays.
        region: The calls that are left out with the branch, in order.
        parameters: Canonical names of the parameters used nowhere else.
        path: Qualified name of the module whose code makes the addition.
    """

    join: fx.Node
    skip: fx.Node
    region: tuple[fx.Node, ...]
    parameters: frozenset[str]
    path: str


@dataclass(frozen=True)
class Block:
    """Branches that are kept or skipped together, over all graphs of the model."""

    name: str
    branches: tuple[Branch, ...]

    @property
    def parameters(self) -> frozenset[str]:
        """Parameters that are used only inside the block."""
        return frozenset(p for b in self.branches for p in b.parameters)


@dataclass(frozen=True)
class Stage:
    """Consecutive blocks on one residual stream."""

    name: str
    blocks: tuple[Block, ...]


def find_stages(analysis: Analysis) -> list[Stage]:
    """The stages whose depth may be chosen; a block counts if every graph of the model has it."""
    per_graph = [_blocks(_branches(analysis, one), analysis) for one in analysis.captures]
    if len(per_graph) == 2:
        first, second = per_graph
        common = [k for k in first if k in second and _same(first[k], second[k])]
        merged = {k: Block(k, (*first[k].branches, *second[k].branches)) for k in common}
    else:
        merged = per_graph[0]
    stages: dict[tuple[str, int], list[Block]] = {}
    for block in merged.values():
        stream = analysis.axes_of(block.branches[0].join)
        key = (_container(block.name), hash(tuple(id(a.find()) for a in stream if a.size > 1)))
        stages.setdefault(key, []).append(block)
    named: list[Stage] = []
    for (container, _), blocks in stages.items():
        taken = {s.name for s in named}
        name = container or blocks[0].name or "model"
        if name in taken:
            name = blocks[0].name if blocks[0].name not in taken else f"{name}.{len(named)}"
        named.append(Stage(name, tuple(blocks)))
    return named


def _same(a: Block, b: Block) -> bool:
    return [x.parameters for x in a.branches] == [x.parameters for x in b.branches]


def _blocks(branches: Iterable[Branch], analysis: Analysis) -> dict[str, Block]:
    grouped: dict[str, list[Branch]] = {}
    found = list(branches)
    for branch in found:
        grouped.setdefault(_repeated(branch.path, found, analysis), []).append(branch)
    blocks: dict[str, Block] = {}
    for name, members in grouped.items():
        streams = {_stream(analysis, b) for b in members}
        if len(streams) == 1 and name:
            blocks[name] = Block(name, tuple(members))
        else:  # branches of unlike streams, or of no repeated module: each stands alone
            for i, branch in enumerate(members):
                label = f"{name or 'branch'}.{i}" if len(members) > 1 else name or "branch"
                blocks[label] = Block(label, (branch,))
    return blocks


def _stream(analysis: Analysis, branch: Branch) -> tuple[int, ...]:
    return tuple(id(a.find()) for a in analysis.axes_of(branch.join) if a.size > 1)


def _repeated(path: str, branches: list[Branch], analysis: Analysis) -> str:
    """The repeated module that a branch belongs to: ``encoder.layer.3`` of its whole path.

    Where numbered modules are nested, the outermost whose siblings work on the same stream: a
    transformer's layer and not its parts, but a ResNet's block and not its stage.
    """
    parts = path.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    for i in numbers:
        container = ".".join(parts[:i]) + "." if i else ""
        inside = [b for b in branches if b.path.startswith(container)]
        siblings = {b.path[len(container) :].partition(".")[0] for b in inside}
        if len(siblings) > 1 and len({_stream(analysis, b) for b in inside}) == 1:
            return ".".join(parts[: i + 1])
    return ".".join(parts[: numbers[-1] + 1]) if numbers else path


def _container(block: str) -> str:
    head, _, tail = block.rpartition(".")
    return head if tail.isdigit() else block


def _branches(analysis: Analysis, one: Capture) -> list[Branch]:
    order = {node: i for i, node in enumerate(one.graph.nodes)}
    found = []
    for node in one.calls:
        if node.target not in (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor):
            continue
        if node.kwargs.get("alpha", 1) != 1 or len(node.args) != 2:
            continue
        left, right = node.args
        if not isinstance(left, fx.Node) or not isinstance(right, fx.Node) or left is right:
            continue
        for skip, branch in ((left, right), (right, left)):
            region = _exclusive_region(node, branch, order)
            if region and _may_skip(analysis, one, node, skip, region, order):
                found.append(_branch(analysis, one, node, skip, region))
                break
    return found


def _exclusive_region(
    join: fx.Node, end: fx.Node, order: dict[fx.Node, int]
) -> tuple[fx.Node, ...]:
    """All calls that feed the branch's end and nothing else."""
    if set(end.users) != {join} or end.op != "call_function":
        return ()
    region = {end}
    pending = list(end.all_input_nodes)
    while pending:
        node = max(pending, key=order.__getitem__)
        pending = [n for n in pending if n is not node]
        if node.op != "call_function" or node in region:
            continue
        silent = [u for u in node.users if not u.users and u.op == "call_function"]
        if set(node.users) <= region | set(silent):
            region |= {node, *silent}
            pending.extend(node.all_input_nodes)
    return tuple(sorted(region, key=order.__getitem__))


def _may_skip(
    analysis: Analysis,
    one: Capture,
    join: fx.Node,
    skip: fx.Node,
    region: tuple[fx.Node, ...],
    order: dict[fx.Node, int],
) -> bool:
    inside = set(region)
    inputs = {n for node in region for n in node.all_input_nodes} - inside
    if skip not in inputs:
        return False
    if not any(n in one.sources and one.sources[n].kind == "parameter" for n in inputs):
        return False
    a, b = skip.meta["val"], join.meta["val"]
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if any(_written(node) not in (None, *inside) for node in region):
        return False
    between = (
        n for n in one.calls if order[region[0]] < order[n] < order[join] and n not in inside
    )
    return not any(_written(n) is not None and not _is_stored(one, _written(n)) for n in between)


def _is_stored(one: Capture, node: fx.Node | None) -> bool:
    return node in one.sources and one.sources[node].kind != "input"


def _written(node: fx.Node) -> fx.Node | None:
    """The tensor that a call writes in place."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return None
    first = node.args[0] if node.args else None
    return first if isinstance(first, fx.Node) else None


def _branch(
    analysis: Analysis, one: Capture, join: fx.Node, skip: fx.Node, region: tuple[fx.Node, ...]
) -> Branch:
    inside = set(region)
    names = {
        analysis.canonical[one.sources[n].name]
        for node in region
        for n in node.all_input_nodes
        if n in one.sources and one.sources[n].kind == "parameter" and set(n.users) <= inside
    }
    stack = join.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return Branch(join, skip, region, frozenset(names), path)


def is_written_later(node: fx.Node) -> bool:
    """Some later call writes the node's tensor in place."""
    return any(_written(user) is node for user in node.users)
