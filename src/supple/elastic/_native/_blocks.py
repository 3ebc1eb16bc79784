"""Leaving blocks out of a tree of modules.

A block goes where it is nothing without its residual branches: every call of its own is part of
them, feeds only them, or changes nothing (a ReLU of what already is one). That is read off the
graph, so it holds for every input and not just for the one that is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from supple.elastic._plan import Plan
from supple.trace import Block, Branch, Capture, Structure

__all__ = ["LeftIn", "Way", "leave_out", "skipped_blocks"]

Way = Literal["identity", "remove"]
"""What comes in the place of a block: an ``nn.Identity``, or the next block."""

_SAME = {
    torch.ops.aten.alias.default,
    torch.ops.aten.clone.default,
    torch.ops.aten.contiguous.default,
    torch.ops.aten.detach.default,
}
_CASTS = {
    torch.ops.aten.to.dtype,
    torch.ops.aten.to.dtype_layout,
    torch.ops.aten._to_copy.default,
    torch.ops.aten.type_as.default,
}
_RELU = {torch.ops.aten.relu.default, torch.ops.aten.relu_.default}
_INDICES = ("layer_idx", "layer_id", "layer_index", "block_idx")


class LeftIn(Exception):
    """A block that cannot be taken out of the tree, and why."""


@dataclass(frozen=True)
class _Gone:
    """What a sub-network leaves out of one graph."""

    region: frozenset[fx.Node]
    skips: dict[fx.Node, fx.Node]

    @classmethod
    def of(cls, branches: list[Branch]) -> _Gone:
        region = frozenset(node for branch in branches for node in branch.region)
        return cls(region, {branch.join: branch.skip for branch in branches})


def skipped_blocks(structure: Structure, plan: Plan) -> list[Block]:
    """The blocks that a plan leaves out."""
    blocks = (block for stage in structure.stages for block in stage.blocks)
    return [block for block in blocks if block.name not in plan.blocks]


def leave_out(network: nn.Module, structure: Structure, plan: Plan, way: Way) -> dict[str, str]:
    """Takes the blocks that a plan leaves out of a tree of modules.

    Args:
        network: The tree, which is changed.
        structure: What may vary.
        plan: What is kept.
        way: What comes in a block's place.

    Returns:
        For each module that got another path: the path it has now, to the one it had.

    Raises:
        LeftIn: A block does more than its branches, or is no module of its own.
    """
    skipped = skipped_blocks(structure, plan)
    branches = [branch for block in skipped for branch in block.branches]
    modules = dict(network.named_modules(remove_duplicate=False))
    for block in skipped:
        if block.name not in modules or not block.name:
            raise LeftIn(f"the branch '{block.name}' is no module of its own")
        for one in structure.analysis.captures:
            gone = _Gone.of([b for b in branches if b.join.graph is one.graph])
            left = _left_over(one, block.name, gone)
            if left:
                raise LeftIn(f"'{block.name}' also does {', '.join(sorted(set(left)))}")
    names = [block.name for block in skipped]
    if way == "identity":
        for name in names:
            _set(network, name, nn.Identity())
        return {}
    return _remove(network, names)


def _left_over(one: Capture, path: str, gone: _Gone) -> list[str]:
    """The operators of a block that are still there without the branches."""
    dead: set[fx.Node] = set(gone.region)
    for node in reversed(one.calls):
        read = [u for u in node.users if u not in dead and gone.skips.get(u, node) is node]
        if not read:
            dead.add(node)
    return [
        str(node.target).removeprefix("aten.").partition(".")[0]
        for node in one.calls
        if _is_inside(node, path)
        and node not in dead
        and node not in gone.skips
        and not _changes_nothing(node, gone)
    ]


def _is_inside(node: fx.Node, path: str) -> bool:
    stack = node.meta.get("nn_module_stack") or {}
    return any(str(name) == path or str(name).startswith(f"{path}.") for name, _ in stack.values())


def _is_same(node: fx.Node) -> bool:
    """The call gives the values of its first argument."""
    if node.target in _CASTS:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        old, new = source.meta["val"], node.meta["val"]
        return bool(old.dtype == new.dtype and old.device == new.device)
    return node.target in _SAME


def _changes_nothing(node: fx.Node, gone: _Gone) -> bool:
    if _is_same(node):
        return True
    return node.target in _RELU and _source(node.args[0], gone).target in _RELU


def _source(node: object, gone: _Gone) -> fx.Node:
    """Where a value comes from, past joins without their branch and calls that change nothing."""
    assert isinstance(node, fx.Node)
    while node in gone.skips or _is_same(node):
        node = gone.skips[node] if node in gone.skips else node.args[0]
        assert isinstance(node, fx.Node)
    return node


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    network.get_submodule(parent)._modules[leaf] = module


def _remove(network: nn.Module, names: list[str]) -> dict[str, str]:
    """Takes modules out of their lists; the rest close the ranks."""
    by_list: dict[str, set[int]] = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        if not isinstance(network.get_submodule(parent), (nn.Sequential, nn.ModuleList)):
            raise LeftIn(f"'{name}' is not an item of a list of modules")
        by_list.setdefault(parent, set()).add(int(leaf))
    renamed = {}
    for parent, gone in by_list.items():
        items = network.get_submodule(parent)._modules
        kept = [(int(name), module) for name, module in items.items() if int(name) not in gone]
        items.clear()
        for now, (before, module) in enumerate(kept):
            items[str(now)] = module
            if now != before:
                prefix = f"{parent}." if parent else ""
                renamed[f"{prefix}{now}"] = f"{prefix}{before}"
                _renumber(module, before, now)
    return renamed


def _renumber(item: nn.Module | None, before: int, now: int) -> None:
    """A layer that knows its number, as caches of keys and values need it, gets the new one."""
    for module in item.modules() if item is not None else ():
        for attribute in _INDICES:
            if vars(module).get(attribute) == before:
                setattr(module, attribute, now)
