"""A config in the terms of the generated programs, and the tensors that it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from supple.elastic._cutting import Cut, Cutter
from supple.elastic._skeleton import owner_of
from supple.elastic._statistics import Statistics
from supple.trace import Branch, Capture, Program, Structure

__all__ = ["GraphRunner", "Plan"]


UNREAD = Cut(())
"""Stands for a tensor that a plan does not read."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a config keeps.

    Attributes:
        counts: For each axis how many indices.
        windows: For each kernel its window.
        blocks: Names of the kept blocks and of their kept parts, and keys of the alternatives
            that are taken.
        is_full: Everything is kept.
        input_size: The side or length to which the input is made smaller; None leaves it.
        pieces: For each graph, how each of its stored tensors is cut; worked out when first used.
    """

    counts: tuple[int, ...]
    windows: tuple[int, ...]
    blocks: frozenset[str]
    is_full: bool
    pieces: dict[int, list[Cut | None]]
    input_size: int | None = None


class GraphRunner:
    """Runs one captured graph on the stored tensors of a network.

    Args:
        net: Where the tensors are, under their canonical names.
        structure: What may vary.
        one: The graph.
        canonical: Canonical name of every stored tensor.
        device: Where the model was when it was captured.
    """

    def __init__(
        self,
        net: nn.Module,
        structure: Structure,
        one: Capture,
        canonical: Mapping[str, str],
        device: torch.device,
    ) -> None:
        self.one = one
        self.branches = _branches_of(structure, one)
        self.program = Program(structure, one, [branch for _, branch in self.branches], device)
        self.statistics = Statistics.of(one, canonical)
        self._holders = [owner_of(net, name) for name in self.program.stored]
        self._counters = [owner_of(net, name) for name in self.statistics.counters]
        self._unread = [name in self.statistics.unread for name in self.program.stored]
        self._written = [name in self.statistics.written for name in self.program.stored]

    def dropped(self, plan: Plan) -> list[Branch]:
        """The branches of this graph that a plan leaves out."""
        kept = self._kept(plan)
        return [
            branch for (_, branch), is_kept in zip(self.branches, kept, strict=True) if not is_kept
        ]

    def run(
        self, plan: Plan, cutter: Cutter, training: bool, batch: int, leaves: Sequence[Any]
    ) -> list[Any]:
        """The leaves of the output."""
        tensors = [holder[leaf] for holder, leaf in self._holders]
        if plan.is_full:
            if training and self._counters:
                torch._foreach_add_([holder[leaf] for holder, leaf in self._counters], 1)
        else:
            tensors = self._cut(plan, cutter, tensors, training)
        kept = self._kept(plan)
        return self.program.run(tensors, plan.counts, kept, plan.windows, training, batch, *leaves)

    def _cut(
        self, plan: Plan, cutter: Cutter, tensors: list[Tensor], training: bool
    ) -> list[Tensor | None]:
        """The cut tensors; what the graph would write is left out or a copy."""
        pieces = plan.pieces.get(id(self))
        if pieces is None:
            pieces = plan.pieces[id(self)] = self._pieces(plan, cutter)
        result: list[Tensor | None] = []
        for i, (tensor, cut) in enumerate(zip(tensors, pieces, strict=True)):
            if cut is UNREAD or (training and self._unread[i]):
                result.append(None)
                continue
            value = tensor if cut is None else cut(tensor)
            result.append(value.clone() if self._written[i] else value)
        return result

    def _pieces(self, plan: Plan, cutter: Cutter) -> list[Cut | None]:
        """How each stored tensor is cut; what only skipped branches read is not cut at all."""
        kept = self._kept(plan)
        pieces: list[Cut | None] = []
        for name in self.program.stored:
            cut = cutter.cut(name, plan.counts, plan.windows)
            is_read = self.program.reads(name, kept)
            pieces.append((None if cut.is_whole else cut) if is_read else UNREAD)
        return pieces

    def _kept(self, plan: Plan) -> list[bool]:
        return [plan.blocks.issuperset(names) for names, _ in self.branches]


def _branches_of(structure: Structure, one: Capture) -> list[tuple[tuple[str, ...], Branch]]:
    """The branches of a graph, each with the names that must all be kept for it to run."""
    names: dict[fx.Node, tuple[str, ...]] = {}
    branches: dict[fx.Node, Branch] = {}
    for stage in (*structure.stages, *structure.parts):
        for block in stage.blocks:
            for branch in block.branches:
                if branch.join.graph is one.graph:
                    names[branch.join] = (*names.get(branch.join, ()), block.name)
                    branches[branch.join] = branch
    found = [(names[join], branch) for join, branch in branches.items()]
    return found + [
        ((key,), branch)
        for site in structure.swaps
        for key, branch in site.keyed
        if branch.join.graph is one.graph
    ]
