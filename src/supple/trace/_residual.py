"""Depth: residual branches that may be skipped, and the blocks and stages they make up.

In ``y = x + f(x)``, where nothing else uses what ``f`` computes, the branch ``f`` may be left out.
Branches inside one repeated module (``layer1.3``, ``encoder.layer.7``) are one block; the blocks
of one container on one residual stream are a stage, whose depth is a choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import fx

from supple.errors import TraceError
from supple.trace._analyse import Analysis
from supple.trace._capture import Capture
from supple.trace._deadline import check_time
from supple.trace._graph import memory_of, module_path, writes
from supple.trace._sizes import plain_shape
from supple.trace._swap import CHOOSE, SwapSite

__all__ = ["Block", "Branch", "Stage", "find_parts", "find_stages", "find_swaps"]


@dataclass(frozen=True)
class Branch:
    """One skippable residual branch of one graph.

    Attributes:
        join: The addition.
        skip: The operand that stays.
        region: The calls that are left out with the branch, in order.
        parameters: Canonical names of the parameters used nowhere else.
        stored: These, and the buffers used nowhere else.
        path: Qualified name of the module whose code makes the addition.
        needs_copy: Without the branch the sum must be a copy of ``skip``, for one of the two is
            written in place later.
    """

    join: fx.Node
    skip: fx.Node
    region: tuple[fx.Node, ...]
    parameters: frozenset[str]
    stored: frozenset[str]
    path: str
    needs_copy: bool


@dataclass(frozen=True)
class Block:
    """Branches that are kept or skipped together, over all graphs of the model."""

    name: str
    branches: tuple[Branch, ...]

    @property
    def parameters(self) -> frozenset[str]:
        """Parameters that are used only inside the block."""
        return frozenset(name for branch in self.branches for name in branch.parameters)

    @property
    def stored(self) -> frozenset[str]:
        """Parameters and buffers that are used only inside the block."""
        return frozenset(name for branch in self.branches for name in branch.stored)


@dataclass(frozen=True)
class Stage:
    """Consecutive blocks on one residual stream."""

    name: str
    blocks: tuple[Block, ...]


def find_stages(analysis: Analysis) -> list[Stage]:
    """The stages whose depth may be chosen; a block counts if every graph of the model has it."""
    per_graph = [_blocks(_branches(analysis, one), analysis) for one in analysis.captures]
    first, *others = per_graph
    common = [k for k in first if all(k in one and _same(first[k], one[k]) for one in others)]
    merged = {
        k: Block(k, tuple(branch for one in per_graph for branch in one[k].branches))
        for k in common
    }
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


def find_parts(analysis: Analysis, stages: Iterable[Stage]) -> list[Stage]:
    """The branches of layers that have several, as stages of their own: all attentions, all MLPs.

    A part is named by the module that holds most of its parameters.
    """
    found: list[Stage] = []
    for stage in stages:
        parts: dict[str, list[Block]] = {}
        for block in stage.blocks:
            for label, branches in _labelled(analysis, block).items():
                parts.setdefault(label, []).append(Block(f"{block.name}.{label}", branches))
        found += [Stage(f"{stage.name}.{label}", tuple(own)) for label, own in parts.items()]
    return found


def _labelled(analysis: Analysis, block: Block) -> dict[str, tuple[Branch, ...]]:
    """The branches of a block by what they are, over all graphs; none if there is only one."""
    by_graph: dict[fx.Graph, list[Branch]] = {}
    for branch in block.branches:
        by_graph.setdefault(branch.join.graph, []).append(branch)
    ranks = list(zip(*by_graph.values(), strict=True))
    if len(ranks) < 2:
        return {}
    labels = [_label(analysis, block, same[0]) for same in ranks]
    unique = [
        label if labels.count(label) == 1 else f"{label}{labels[: i + 1].count(label)}"
        for i, label in enumerate(labels)
    ]
    return dict(zip(unique, ranks, strict=True))


def _label(analysis: Analysis, block: Block, branch: Branch) -> str:
    """The part of the block that holds most of a branch's parameters."""
    sizes: dict[str, int] = {}
    for name in sorted(branch.parameters):
        inner = name.removeprefix(f"{block.name}.").rpartition(".")[0].partition(".")[0]
        size = math.prod(axis.size for axis in analysis.stored[name])
        sizes[inner] = sizes.get(inner, 0) + size
    return max(sizes, key=sizes.__getitem__, default="") or "branch"


def find_swaps(analysis: Analysis) -> list[SwapSite]:
    """The swap points, each with the calls of its alternatives.

    Raises:
        TraceError: An alternative writes to what others use too.
    """
    options: dict[str, tuple[str, ...]] = {}
    found: dict[str, list[list[Branch]]] = {}
    for one in analysis.captures:
        memory = Memory(one)
        for node in one.calls:
            if node.target is not CHOOSE:
                continue
            path, names = module_path(node), tuple(str(node.args[1]).split(","))
            options[path] = names
            branches = found.setdefault(path, [[] for _ in names])
            for i, branch in enumerate(_alternatives(analysis, one, node, memory)):
                branches[i].append(branch)
    return [SwapSite(path, options[path], tuple(map(tuple, found[path]))) for path in found]


def _alternatives(analysis: Analysis, one: Capture, join: fx.Node, memory: Memory) -> list[Branch]:
    operands = join.args[0]
    assert isinstance(operands, (list, tuple))
    branches = []
    for end in operands:
        assert isinstance(end, fx.Node)
        is_alone = operands.count(end) == 1  # else other alternatives give the very same
        region = _exclusive_region(join, end, memory) if is_alone else ()
        written = {memory_of(w) for node in region for w in writes(node)}
        inside = set(region)
        if any(w not in inside and not _is_buffer(one, w) for w in written):
            raise TraceError(
                f"an alternative of the swap point '{module_path(join)}' writes to its input.",
                why="The other alternatives would then get another input.",
                hint="build it without inplace=True.",
            )
        branches.append(_branch(analysis, one, join, end, region, memory))
    return branches


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
    memory = Memory(one)
    found = []
    for node in one.calls:
        if node.target not in (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor):
            continue
        if node.kwargs.get("alpha", 1) != 1 or len(node.args) != 2:
            continue
        left, right = node.args
        check_time(partial(analysis.where, node))
        if not isinstance(left, fx.Node) or not isinstance(right, fx.Node) or left is right:
            continue
        for skip, end in ((left, right), (right, left)):
            region = _exclusive_region(node, end, memory)
            if region and _may_skip(one, node, skip, region, memory):
                found.append(_branch(analysis, one, node, skip, region, memory))
                break
    return found


class Memory:
    """Order and memory of the calls of one graph."""

    def __init__(self, one: Capture) -> None:
        self.order = {node: i for i, node in enumerate(one.graph.nodes)}
        self.writers: dict[fx.Node, list[fx.Node]] = {}
        for node in one.calls:
            for written in writes(node):
                self.writers.setdefault(memory_of(written), []).append(node)

    def is_written_after(self, node: fx.Node, call: fx.Node) -> bool:
        """Some call after that one writes the memory of the node."""
        writers = self.writers.get(memory_of(node), [])
        return any(self.order[w] > self.order[call] for w in writers)


def _exclusive_region(join: fx.Node, end: fx.Node, memory: Memory) -> tuple[fx.Node, ...]:
    """All calls that feed the branch's end and nothing else."""
    if set(end.users) != {join} or end.op != "call_function":
        return ()
    order = memory.order
    region = {end}
    pending = set(end.all_input_nodes)
    while pending:
        node = max(pending, key=order.__getitem__)
        pending.discard(node)
        if node.op != "call_function" or node in region:
            continue
        silent = {u for u in node.users if not u.users and u.op == "call_function"}
        if set(node.users) <= region | silent:
            region |= {node, *silent}
            pending.update(node.all_input_nodes)
    return tuple(sorted(region, key=order.__getitem__))


def _may_skip(
    one: Capture, join: fx.Node, skip: fx.Node, region: tuple[fx.Node, ...], memory: Memory
) -> bool:
    inside = set(region)
    inputs = {n for node in region for n in node.all_input_nodes} - inside
    if skip not in inputs:
        return False
    if not any(n in one.sources and one.sources[n].kind == "parameter" for n in inputs):
        return False
    a, b = skip.meta["val"], join.meta["val"]
    if plain_shape(a) != plain_shape(b) or a.dtype != b.dtype:
        return False
    written = {memory_of(w) for node in region for w in writes(node)}
    written |= {memory_of(w) for w in writes(join) if w is not skip}
    return all(w in inside or (_is_buffer(one, w) and set(w.users) <= inside) for w in written)


def _is_buffer(one: Capture, node: fx.Node) -> bool:
    return node in one.sources and one.sources[node].kind == "buffer"


def _branch(
    analysis: Analysis,
    one: Capture,
    join: fx.Node,
    skip: fx.Node,
    region: tuple[fx.Node, ...],
    memory: Memory,
) -> Branch:
    inside = set(region)
    own = {
        n
        for node in region
        for n in node.all_input_nodes
        if n in one.sources and one.sources[n].kind != "input" and set(n.users) <= inside
    }
    counting = _counting(one, own)
    parameters = {n for n in own if one.sources[n].kind == "parameter"}
    counted = {_stored_argument(one, node) for node in counting}
    region = tuple(sorted({*region, *counting}, key=memory.order.__getitem__))
    is_skip_itself = skip in writes(join)
    needs_copy = not is_skip_itself and (
        memory.is_written_after(join, join) or memory.is_written_after(skip, join)
    )
    return Branch(
        join=join,
        skip=skip,
        region=region,
        parameters=frozenset(analysis.canonical[one.sources[n].name] for n in parameters),
        stored=frozenset(
            analysis.canonical.get(name, name)
            for name in {*(one.sources[n].name for n in own), *counted}
        ),
        path=module_path(join),
        needs_copy=needs_copy,
    )


def _counting(one: Capture, own: set[fx.Node]) -> set[fx.Node]:
    """Calls beside the branch that only count its batches: those of its batch norms."""
    owners = {one.sources[n].name.rpartition(".")[0] for n in own if _is_buffer(one, n)}
    return {
        node
        for node in one.calls
        if _stored_argument(one, node)
        and len(node.all_input_nodes) == 1
        and not node.users
        and writes(node)
        and _stored_argument(one, node).rpartition(".")[0] in owners
    }


def _stored_argument(one: Capture, node: fx.Node) -> str:
    first = node.args[0] if node.args else None
    is_buffer = isinstance(first, fx.Node) and _is_buffer(one, first)
    return one.sources[first].name if is_buffer and isinstance(first, fx.Node) else ""
