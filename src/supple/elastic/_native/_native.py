"""Tries to give a sub-network as the model's own classes, and compares before it returns."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_of
from supple.elastic._compare import relative_difference
from supple.elastic._inputs import call_example, resize_batch
from supple.elastic._native._attributes import Slot, slots_of
from supple.elastic._native._blocks import LeftIn, Way, leave_out, skipped_blocks
from supple.elastic._native._extraction import Extraction
from supple.elastic._native._hugging_face import correct_config, has_config
from supple.elastic._native._shell import emptied, fill, still_empty
from supple.elastic._native._sizes import Sizes
from supple.elastic._native._torch_modules import correct_known
from supple.elastic._plan import Plan
from supple.elastic._skeleton import unchanged_buffers
from supple.trace import Example, Structure, same_randomness
from supple.trace._modes import in_mode
from supple.trace._places import user_line

__all__ = ["Native"]

_ALIKE = 1e-5  # relative difference up to which two networks count as the same
_MOST_TRIES = 48
_BATCHES: tuple[int, ...] = (2, 3)  # the first of the example's own rows, the second drawn

Ranks = Mapping[Any, int]
"""For each group of attributes, which of its candidate meanings is taken."""


class _Unlike(Exception):
    """A try that does not give the sub-network: why, and the classes where it failed."""

    def __init__(self, why: str, classes: frozenset[str] = frozenset()) -> None:
        super().__init__(why)
        self.classes = classes


@dataclass(frozen=True)
class _Checked:
    """The outputs that a native network must give: (training, inputs, output)."""

    calls: list[tuple[bool, Example, Any]]
    batches: tuple[int, ...]


class Native:
    """Shrinks the model's own tree of modules.

    Args:
        model: The model that was brought; its weights are not kept.
        example: Arguments of one call.
    """

    def __init__(self, model: nn.Module, example: Example) -> None:
        self._problem = ""
        self._shell: nn.Module | None = None
        self._example = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), example)
        self._learned: dict[Any, int] = {}
        self._sizes: Sizes | None = None
        try:
            self._shell = emptied(model)
        except Exception as error:
            self._problem = f"the model cannot be copied: {_first_line(error)}"

    def extraction(
        self, structure: Structure, plan: Plan, graph: nn.Module, *, any_batch: bool
    ) -> Extraction:
        """The sub-network as the model's own classes where that works, else the graph.

        Args:
            structure: What may vary.
            plan: What is kept.
            graph: The sub-network as a module around its graph; it gives its tensors away.
            any_batch: It takes other batch sizes than the example's.
        """
        if self._shell is None:
            return Extraction(network=graph, kind="graph", reason=self._problem)
        if self._sizes is None or self._sizes.structure is not structure:
            self._sizes = Sizes(structure)
        try:
            checked = self._outputs(graph, any_batch)
        except Exception as error:
            return Extraction(
                network=graph,
                kind="graph",
                reason=f"the graph does not run on the example: {_first_line(error)}",
            )
        attempt = _Attempt(self._shell, self._sizes, plan, graph, checked)
        why: list[str] = []
        for way in self._ways(structure, plan):
            try:
                network, renamed = attempt.search(way, self._learned)
            except (_Unlike, LeftIn) as error:
                why.append(str(error))
                continue
            changes = sorted(self._sizes.changes(plan))
            notes = correct_config(network, self._shell, changes, attempt.check)
            return Extraction(
                network=network.train(graph.training),
                kind="native",
                reason="the modules of "
                f"{type(network).__name__} could be cut in place; it equals the graph on batches "
                f"of {' and '.join(map(str, checked.batches))}",
                notes=tuple(notes),
                renamed=renamed,
            )
        return Extraction(network=graph, kind="graph", reason="; ".join(dict.fromkeys(why)))

    def _ways(self, structure: Structure, plan: Plan) -> tuple[Way, ...]:
        if not skipped_blocks(structure, plan):
            return ("identity",)
        # A Hugging Face config counts layers, so there the rest close the ranks.
        assert self._shell is not None
        return ("remove", "identity") if has_config(self._shell) else ("identity", "remove")

    def _outputs(self, graph: nn.Module, any_batch: bool) -> _Checked:
        example = self._moved(graph)
        if any_batch:  # small ones: each is run by every network that is tried
            batches = _BATCHES
            inputs = [resize_batch(example, batches[0]), batch_of(example, batches[1], seed=1)]
        else:
            batches = (_batch(example),)
            inputs = [example, batch_of(example, batches[0], seed=1)]
        calls = [(False, one, _output(graph, one, training=False)) for one in inputs]
        with contextlib.suppress(Exception):  # a model may refuse to train on so little
            calls.append((True, inputs[0], _output(graph, inputs[0], training=True)))
        return _Checked(calls, batches)

    def _moved(self, graph: nn.Module) -> Example:
        """The example on the device, and in the precision, that the network has now."""
        now = next(graph.parameters(), None)
        assert self._shell is not None
        before = next(self._shell.parameters(), None)
        example: Example = self._example
        if now is None or before is None:
            return example

        def moved(tensor: Tensor) -> Tensor:
            dtype = now.dtype if tensor.dtype == before.dtype else tensor.dtype
            return tensor.to(now.device, dtype)

        example = pytree.tree_map_only(Tensor, moved, example)
        return example


class _Attempt:
    """The tries at one sub-network."""

    def __init__(
        self, shell: nn.Module, sizes: Sizes, plan: Plan, graph: nn.Module, checked: _Checked
    ) -> None:
        self._shell = shell
        self._sizes = sizes
        self._plan = plan
        self._graph = graph
        self._checked = checked

    def search(self, way: Way, learned: dict[Any, int]) -> tuple[nn.Module, dict[str, str]]:
        """A network that computes what the graph does, by the meanings that were right before.

        Raises:
            _Unlike: None of the tries gave one.
            LeftIn: A block cannot be left out.
        """
        try:
            return self._checked_build(way, learned)
        except _Unlike as error:
            first = error
        guesses = itertools.islice(self._guesses(learned, first.classes), _MOST_TRIES)
        for ranks in guesses:
            try:
                found = self._checked_build(way, ranks)
            except _Unlike:
                continue
            learned.update(ranks)
            return found
        raise first

    def _checked_build(self, way: Way, ranks: Ranks) -> tuple[nn.Module, dict[str, str]]:
        network, renamed = self._build(way, ranks)
        self.check(network)
        return network, renamed

    def _guesses(self, learned: Ranks, suspects: frozenset[str]) -> Iterator[dict[Any, int]]:
        """The meanings with one, then with two of them exchanged; suspected classes first."""
        flips = [
            (group, rank)
            for group, ranks in self._doubtful()
            for rank in ranks
            if learned.get(group, 0) != rank
        ]
        flips.sort(key=lambda flip: flip[0][0] not in suspects)
        for group, rank in flips:
            yield {**learned, group: rank}
        for (one, rank), (other, second) in itertools.combinations(flips, 2):
            if one != other:
                yield {**learned, one: rank, other: second}

    def _doubtful(self) -> list[tuple[Any, list[int]]]:
        """Groups whose candidates do not agree here, with the ranks that make a difference."""
        found: dict[Any, list[int]] = {}
        for slot in slots_of(self._shell, self._sizes):
            values = slot.values(self._sizes, self._plan)
            ranks = [i for i, v in enumerate(values) if v not in values[:i]]
            if len(ranks) > 1 and len(ranks) > len(found.get(slot.group, ())):
                found[slot.group] = ranks
        return list(found.items())

    def _build(self, way: Way, ranks: Ranks) -> tuple[nn.Module, dict[str, str]]:
        network = emptied(self._shell)
        fill(network, self._graph)
        slots = slots_of(network, self._sizes)
        for slot in slots:
            self._write(slot, ranks)
        try:
            correct_known(network, self._sizes, self._plan)
        except (ValueError, RuntimeError) as error:
            raise _Unlike(_first_line(error)) from error
        renamed = leave_out(network, self._sizes.structure, self._plan, way)
        empty = still_empty(network)
        if empty:
            raise _Unlike(f"'{empty[0]}' stays in the tree, but the sub-network has none")
        return network, renamed

    def _write(self, slot: Slot, ranks: Ranks) -> None:
        values = slot.values(self._sizes, self._plan)
        value = values[min(ranks.get(slot.group, 0), len(values) - 1)]
        if value != slot.value:
            slot.write(value)

    def check(self, network: nn.Module) -> None:
        """Raises _Unlike where a network does not compute what the graph does."""
        for training, inputs, want in self._checked.calls:
            try:
                got = _output(network, inputs, training=training)
                difference = relative_difference(got, want)
            except Exception as error:
                where = f" at {user_line(error)}" if user_line(error) else ""
                why = f"the smaller modules do not run: {_first_line(error)}{where}"
                raise _Unlike(why, _classes_in(error)) from error
            if not difference <= _ALIKE:
                mode = "training" if training else "evaluation"
                raise _Unlike(f"the smaller modules differ by {difference:.1e} in {mode}")


def _output(network: nn.Module, example: Example, *, training: bool) -> Any:
    with (
        in_mode(network, training),
        unchanged_buffers(network),
        torch.no_grad(),
        same_randomness(example),
    ):
        return call_example(network, example)


def _batch(example: Example) -> int:
    leaves = [v for v in pytree.tree_leaves(example) if isinstance(v, Tensor) and v.ndim]
    return int(leaves[0].shape[0]) if leaves else 1


def _classes_in(error: BaseException) -> frozenset[str]:
    """The classes of the modules that an error passed through."""
    found = set()
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            found.add(f"{type(owner).__module__}.{type(owner).__qualname__}")
        trace = trace.tb_next
    return frozenset(found)


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text or type(error).__name__
