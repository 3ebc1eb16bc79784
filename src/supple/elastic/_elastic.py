"""`Elastic`: one set of weights that serves every sub-network of a model.

The model is captured once; its weights are copied and shared by all configs. A sub-network runs
on slices of them, in evaluation and in training, and can be extracted as a module of its own.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._choices import Elasticity, build_space
from supple.elastic._cutting import Cutter, kept_positions
from supple.elastic._extract import Specialiser, extract_graph
from supple.elastic._inputs import (
    batch_leaves,
    call_example,
    capture_batched,
    example_leaves,
    flatten_inputs,
    input_names,
    relative_difference,
    resize_batch,
)
from supple.elastic._report import Report, make_report
from supple.elastic._skeleton import hold, owner_of
from supple.elastic._statistics import batch_statistics
from supple.elastic._weights import load_weights, save_weights
from supple.elastic.importance._base import Scorer
from supple.errors import TraceError
from supple.space import Config, Option, Space
from supple.trace import (
    Analysis,
    Axis,
    Branch,
    Example,
    Program,
    Reason,
    Structure,
)
from supple.trace._axis import fix, pin

__all__ = ["Elastic", "SubNetwork"]

_FAITHFUL = 1e-5  # relative difference up to which the captured graph counts as the model


@dataclass(frozen=True)
class Plan:
    """A config in the terms of the generated function."""

    counts: tuple[int, ...]
    windows: tuple[int, ...]
    kept: tuple[frozenset[str], ...]  # for each stage the names of the kept blocks
    is_largest: bool


class Elastic(nn.Module):
    """A model whose structure may vary.

    Args:
        model: Any module that ``torch.export`` can capture. It is not changed: the weights are
            copied.
        example: Arguments of one call, a tuple (positional) or a dict (keywords). Dimension 0 of
            the tensors that share it is the batch, which may then have any size.
        elasticity: How far and how finely the model may vary.

    Attributes:
        elasticity: As given.
        notes: What the user should know about the capture.

    Raises:
        ExampleError: The model cannot be called with the example.
        TraceError: The model cannot be captured, or is elastic nowhere.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
        >>> net = Elastic(model, (torch.randn(2, 8),))
        >>> small = net.extract(net.space.smallest)
        >>> sum(p.numel() for p in small.parameters())
        108
    """

    def __init__(
        self, model: nn.Module, example: Example, elasticity: Elasticity | None = None
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TraceError(
                f"the model is a {type(model).__name__}, not a torch.nn.Module.",
                hint="pass the module itself, for instance Elastic(model, (x,)).",
            )
        self.elasticity = elasticity or Elasticity()
        self.notes: tuple[str, ...] = ()
        self._class_name = type(model).__name__
        self._captures, example = capture_batched(model, example)
        self._copy_weights(model)
        self._input_names = input_names(model, example)
        self._analyse(example_leaves(example))
        self._check_faithful(model, example)
        self._check_cutting(example)
        if not self.space:
            raise TraceError(
                f"{self._class_name} is elastic nowhere: no size of it may vary.",
                why=_most_common_reason(self._structure),
                hint="see supple.trace for the operators that have rules, or widen Elasticity.",
            )
        self.train(model.training)

    # -- construction -------------------------------------------------------------------------
    def _copy_weights(self, model: nn.Module) -> None:
        canonical: dict[str, str] = {}
        first: dict[int, str] = {}
        parameters: dict[str, nn.Parameter] = {}
        buffers: dict[str, tuple[Tensor, bool]] = {}
        persistent = set(model.state_dict().keys())
        copied: dict[int, Any] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            canonical[name] = first.setdefault(id(parameter), name)
            if id(parameter) not in copied:
                copied[id(parameter)] = nn.Parameter(
                    parameter.detach().clone(), requires_grad=parameter.requires_grad
                )
            parameters[name] = copied[id(parameter)]
        for name, buffer in model.named_buffers(remove_duplicate=False):
            canonical[name] = first.setdefault(id(buffer), name)
            if id(buffer) not in copied:
                copied[id(buffer)] = buffer.detach().clone()
            buffers[name] = (copied[id(buffer)], name in persistent)
        for one in self._captures:
            for name, constant in one.constants.items():
                canonical[name] = name
                buffers[name] = (constant.detach().clone(), False)
        hold(self, parameters, buffers)
        self._canonical = canonical
        self._parameter_names = [n for n in parameters if canonical[n] == n]
        self._buffer_names = {n: kept for n, (_, kept) in buffers.items() if canonical[n] == n}

    def _analyse(self, leaves: Sequence[Any]) -> None:
        batch = batch_leaves(leaves)
        shapes = {n: tuple(t.shape) for n, t in self._tensors().items()}
        analysis = Analysis(self._captures, shapes, self._canonical, frozenset(batch))
        self._structure = Structure(analysis, self._parameter_names)
        self._batch_leaf = batch[0] if batch and analysis.batch_axis.find().is_runtime else None
        self._full_batch = int(leaves[batch[0]].shape[0]) if batch else 1
        self._orders: list[Tensor | None] = [None] * len(self._structure.axes)
        self._block_orders = {
            stage.name: tuple(range(len(stage.blocks))) for stage in self._structure.stages
        }
        self._build()

    def _build(self) -> None:
        """Everything that follows from the structure, the elasticity and the orders."""
        self._cutter = Cutter(self._structure)
        self._branches = [
            [
                (block.name, branch)
                for stage in self._structure.stages
                for block in stage.blocks
                for branch in block.branches
                if branch.join.graph is one.graph
            ]
            for one in self._captures
        ]
        self._programs = [
            Program(self._structure, one, [branch for _, branch in branches])
            for one, branches in zip(self._captures, self._branches, strict=True)
        ]
        self._statistics, self._counters = batch_statistics(self._captures, self._canonical)
        self._holders = [
            [owner_of(self, name) for name in program.stored] for program in self._programs
        ]
        self._space = build_space(self._structure, self.elasticity, self._block_orders)
        self._plans: dict[Config, Plan] = {}

    def _check_faithful(self, model: nn.Module, example: Example) -> None:
        """The captured graph must be the model, on this batch and on a larger one."""
        modes = {module: module.training for module in model.modules()}
        model.eval()
        self.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                difference = relative_difference(
                    call_example(model, example), call_example(self, example)
                )
                if difference > _FAITHFUL:
                    raise TraceError(
                        f"the captured graph of {self._class_name} differs from the model by "
                        f"{difference:.2g} of the output's scale.",
                        why="Something in the model depends on state that torch.export froze.",
                        hint="make forward depend on its arguments and parameters only.",
                        difference=difference,
                    )
                self._check_other_batch(model, example)
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _check_other_batch(self, model: nn.Module, example: Example) -> None:
        if self._batch_leaf is None:
            reason = self._structure.analysis.batch_axis.find().reason
            by = f" by {reason.operator} at {reason.where}" if reason else ""
            self.notes += (f"the batch size is fixed to {self._full_batch}{by}",)
            return
        larger = resize_batch(example, self._full_batch + 1)
        try:
            difference = relative_difference(
                call_example(model, larger), call_example(self, larger)
            )
        except Exception:
            difference = float("inf")
        if difference > _FAITHFUL:
            self._batch_leaf = None
            axis = self._structure.analysis.batch_axis.find()
            if axis.kind == "atom":
                pin(axis, Reason("batch", "a number in the model depends on the batch size"))
            self._build()
            self.notes += (f"the batch size is fixed to {self._full_batch} by the captured graph",)

    def _check_cutting(self, example: Example) -> None:
        """Every choice is tried at its smallest; one that cannot run is fixed, and said."""
        if not self._space or self._runs(self._space.smallest, example) is None:
            return
        config = self._space.largest
        broken: dict[str, str] = {}
        for name, choice in self._space.items():
            candidate = config.replace({name: choice.options[0]})
            problem = self._runs(candidate, example)
            if problem is None:
                config = candidate
            else:
                broken[name] = problem
        for name, problem in broken.items():
            self._leave_whole(name, problem)
        self.elasticity = dataclasses.replace(
            self.elasticity, fixed=(*self.elasticity.fixed, *broken)
        )
        self._build()

    def _leave_whole(self, name: str, problem: str) -> None:
        self.notes += (f"{name} is left whole: cutting it failed ({problem})",)
        for axis in self._structure.axes:
            if axis.name == name:
                fix(axis.axis, Reason("check", f"cannot be cut: {problem}"))

    def _runs(self, config: Config, example: Example) -> str | None:
        """None if the sub-network runs and keeps the output's shapes, else what went wrong."""
        self.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                got, want = call_example(self.at(config), example), call_example(self, example)
        except Exception as error:
            return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        shapes = [
            [tuple(t.shape) for t in pytree.tree_leaves(v) if isinstance(t, Tensor)]
            for v in (got, want)
        ]
        return None if shapes[0] == shapes[1] else "the output has another shape"

    # -- the public face ----------------------------------------------------------------------
    @property
    def space(self) -> Space:
        """The choices of this network."""
        return self._space

    @property
    def structure(self) -> Structure:
        """The axes, stages and kernels behind the choices."""
        return self._structure

    @property
    def batch_size(self) -> int | None:
        """The only batch size the network takes, or None for any."""
        return None if self._batch_leaf is not None else self._full_batch

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The full network."""
        return self._run(self._plan(self._space.largest), args, kwargs)

    def at(self, config: Mapping[str, Option]) -> SubNetwork:
        """The sub-network of a config: it shares the weights and the mode of this network.

        In training mode batch norm uses the statistics of the batch; only the full network
        updates the running ones (recalibrate what you extract).

        Raises:
            ConfigError: The config is not one of this space.
        """
        return SubNetwork(self, self._space.validate(config))

    def extract(self, config: Mapping[str, Option]) -> nn.Module:
        """The sub-network as a plain module with weights of its own.

        Indices keep the order of the model that was brought, so the largest config gives that
        model back exactly.

        Raises:
            ConfigError: The config is not one of this space.
        """
        plan = self._plan(self._space.validate(config))
        tensors = self._tensors()
        own: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, tensor in tensors.items():
                if name not in self._structure.analysis.stored:
                    continue
                cut = self._cutter.cut_in_order(name, plan.counts, plan.windows, self._orders)
                value = cut(tensor.detach()).clone(memory_format=torch.contiguous_format)
                is_parameter = isinstance(tensor, nn.Parameter)
                own[name] = (
                    nn.Parameter(value, requires_grad=tensor.requires_grad)
                    if is_parameter
                    else value
                )
        specialisers = [
            Specialiser(
                self._structure,
                one,
                plan.counts,
                plan.windows,
                self._dropped(i, plan),
                self._batch_leaf,
                self._input_names,
            )
            for i, one in enumerate(self._captures)
        ]
        module = extract_graph(specialisers, own, self._buffer_names, self._class_name)
        return module.train(self.training)

    def without_blocks(self, blocks: Mapping[str, Sequence[int]]) -> SubNetwork:
        """The full network without some blocks, given by stage name and position in the stage."""
        plan = self._plan(self._space.largest)
        kept = tuple(
            frozenset(
                block.name
                for i, block in enumerate(stage.blocks)
                if i not in blocks.get(stage.name, ())
            )
            for stage in self._structure.stages
        )
        trimmed = dataclasses.replace(plan, kept=kept, is_largest=not any(blocks.values()))
        return SubNetwork(self, self._space.largest, trimmed)

    def reorder(self, scorer: Scorer) -> None:
        """Stores the indices of every axis by importance, so that narrower is a prefix.

        The full network stays the same function; the blocks of a stage are dropped in the
        scorer's order, where it gives one.

        Args:
            scorer: Gives the importance, for instance `Magnitude` or `Taylor`.
        """
        scores = scorer.scores(self)
        permutations: list[Tensor | None] = []
        for axis in self._structure.axes:
            score = scores.axes.get(axis.name)
            permutations.append(
                None if score is None else torch.argsort(score, descending=True, stable=True)
            )
        self._permute(permutations)
        self._block_orders.update({k: tuple(v) for k, v in scores.blocks.items()})
        self._build()

    def _permute(self, permutations: Sequence[Tensor | None]) -> None:
        """Moves the stored indices; ``permutations[i][new] = old`` for axis i."""
        index = self._structure.index

        def selection(atom: Axis) -> Tensor | None:
            return permutations[index[atom]] if atom in index else None

        with torch.no_grad():
            for name, tensor in self._tensors().items():
                for dim, axis in enumerate(self._structure.analysis.stored[name]):
                    positions = kept_positions(axis, selection)
                    if positions is not None:
                        tensor.copy_(tensor.index_select(dim, positions.to(tensor.device)))
        for i, permutation in enumerate(permutations):
            if permutation is not None:
                order = self._orders[i]
                self._orders[i] = permutation if order is None else order[permutation]

    def _restore_order(self) -> None:
        """Stores the indices in the order of the model that was brought."""
        inverse = [None if order is None else torch.argsort(order) for order in self._orders]
        self._permute(inverse)
        self._orders = [None] * len(self._structure.axes)

    def dropped_blocks(self, config: Mapping[str, Option]) -> dict[str, list[str]]:
        """Names of the blocks that a config leaves out, by name of the depth choice."""
        plan = self._plan(self._space.validate(config))
        return {
            f"{stage.name}.depth": [b.name for b in stage.blocks if b.name not in kept]
            for stage, kept in zip(self._structure.stages, plan.kept, strict=True)
        }

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter once, by canonical name, as it is stored now."""
        parameters = dict(self.named_parameters(remove_duplicate=False))
        for name in self._parameter_names:
            yield name, parameters[name]

    def original_state(self) -> dict[str, Tensor]:
        """The weights under the names, and in the order, of the model that was brought.

        ``model.load_state_dict(net.original_state())`` gives the full network as that model.
        """
        index = self._structure.index

        def selection(atom: Axis) -> Tensor | None:
            order = self._orders[index[atom]] if atom in index else None
            return None if order is None else torch.argsort(order)

        state = {}
        for name, tensor in self._tensors().items():
            value = tensor.detach()
            for dim, axis in enumerate(self._structure.analysis.stored[name]):
                positions = kept_positions(axis, selection)
                if positions is not None:
                    value = value.index_select(dim, positions.to(value.device))
            state[name] = value.clone()
        return {
            name: state[first]
            for name, first in self._canonical.items()
            if self._buffer_names.get(first, True)
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Writes weights and orders to a ``.safetensors`` file that the model itself can read."""
        save_weights(self, Path(path))

    def load(self, path: str | PathLike[str]) -> None:
        """Reads what `save` wrote for a network made from the same model.

        Raises:
            DataError: The file is missing, damaged or of another model.
        """
        load_weights(self, Path(path))

    def report(self) -> Report:
        """What is elastic, what is not, and why."""
        return make_report(self._structure, self._space, self._tensors(), self.notes)

    # -- running ------------------------------------------------------------------------------
    def _tensors(self) -> dict[str, Tensor]:
        """Every stored tensor by canonical name."""
        found: dict[str, Tensor] = {}
        parameters = dict(self.named_parameters(remove_duplicate=False))
        buffers = dict(self.named_buffers(remove_duplicate=False))
        for name in self._parameter_names:
            found[name] = parameters[name]
        for name in self._buffer_names:
            found[name] = buffers[name]
        return found

    def _plan(self, config: Config) -> Plan:
        plan = self._plans.get(config)
        if plan is None:
            plan = self._plans[config] = self._make_plan(config)
            if len(self._plans) > 10_000:
                self._plans.clear()
        return plan

    def _make_plan(self, config: Config) -> Plan:
        counts = tuple(int(config.get(axis.name, axis.size)) for axis in self._structure.axes)
        windows = tuple(
            int(config.get(f"{kernel.name}.kernel", kernel.size))
            for kernel in self._structure.kernels
        )
        kept = []
        for stage in self._structure.stages:
            depth = int(config.get(f"{stage.name}.depth", len(stage.blocks)))
            order = self._block_orders[stage.name][:depth]
            kept.append(frozenset(stage.blocks[i].name for i in order))
        is_largest = config == self._space.largest
        return Plan(counts, windows, tuple(kept), is_largest)

    def _dropped(self, index: int, plan: Plan) -> list[Branch]:
        names = frozenset().union(*plan.kept)
        return [branch for name, branch in self._branches[index] if name not in names]

    def _run(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        index = 1 if self.training and len(self._captures) == 2 else 0
        one, program = self._captures[index], self._programs[index]
        leaves = flatten_inputs(one, args, kwargs, self._input_names)
        batch = self._batch_of(leaves)
        names = frozenset().union(*plan.kept)
        kept = [name in names for name, _ in self._branches[index]]
        outputs = program.run(
            self._cut_tensors(index, plan),
            plan.counts,
            kept,
            plan.windows,
            self.training,
            batch,
            *leaves,
        )
        return pytree.tree_unflatten(outputs, one.out_spec)

    def _batch_of(self, leaves: Sequence[Any]) -> int:
        if self._batch_leaf is not None:
            return int(leaves[self._batch_leaf].shape[0])
        return self._full_batch

    def _cut_tensors(self, index: int, plan: Plan) -> list[Tensor]:
        tensors = [holder[leaf] for holder, leaf in self._holders[index]]
        if plan.is_largest:
            if self.training and len(self._captures) == 1:
                for name in self._counters:
                    holder, leaf = owner_of(self, name)
                    holder[leaf].add_(1)
            return tensors
        stored = self._programs[index].stored
        result = []
        for name, tensor in zip(stored, tensors, strict=True):
            cut = self._cutter.cut(name, plan.counts, plan.windows)
            value = tensor if cut.is_whole else cut(tensor)
            is_scratch = self.training and name in self._statistics
            result.append(value.clone() if is_scratch else value)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Elastic:
        twin = Elastic.__new__(Elastic)
        nn.Module.__init__(twin)
        shared = {k: v for k, v in vars(self).items() if k not in vars(twin)}
        vars(twin).update(shared)
        twin._modules = copy.deepcopy(self._modules, memo)
        twin._parameters = copy.deepcopy(self._parameters, memo)
        twin._buffers = copy.deepcopy(self._buffers, memo)
        twin._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        twin.training = self.training
        twin._orders = list(self._orders)
        twin._block_orders = dict(self._block_orders)
        twin._build()
        memo[id(self)] = twin
        return twin


class SubNetwork:
    """A sub-network that shares its weights, and its mode, with the network it belongs to.

    Attributes:
        net: The elastic network.
        config: Which of its sub-networks this is.
    """

    def __init__(self, net: Elastic, config: Config, plan: Plan | None = None) -> None:
        self.net = net
        self.config = config
        self._plan = plan or net._plan(config)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the sub-network on the shared weights."""
        return self.net._run(self._plan, args, kwargs)

    @property
    def training(self) -> bool:
        """The mode of the elastic network."""
        return self.net.training

    def train(self, mode: bool = True) -> SubNetwork:
        """Sets the mode of the elastic network."""
        self.net.train(mode)
        return self

    def eval(self) -> SubNetwork:
        """Sets the elastic network to evaluation mode."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"SubNetwork({self.config!r})"


def _most_common_reason(structure: Structure) -> str:
    reasons = [f"{f.operator}: {f.reason} ({f.where or f.name})" for f in structure.fixed()]
    return (
        f"The sizes are fixed, most often by {max(set(reasons), key=reasons.count)}."
        if reasons
        else "It has no parameters with more than one index."
    )
