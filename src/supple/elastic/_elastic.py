"""`Elastic`: one set of weights that serves every sub-network of a model.

The model is captured once; its weights are copied and shared by all configs. A sub-network runs
on slices of them, in evaluation and in training, and can be extracted as a module of its own.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._attention_dropout import Attentions
from supple.elastic._capturing import AS_IN_EVALUATION, Captured, capture_model
from supple.elastic._checks import (
    Shapes,
    broken_choices,
    check_evaluation,
    other_batch,
    runs_alike,
    size_problem,
    trains_alike,
)
from supple.elastic._choices import Elasticity, build_space
from supple.elastic._cutting import Cutter, kept_positions
from supple.elastic._extract import Specialiser
from supple.elastic._inputs import Signature, batch_leaves, example_leaves
from supple.elastic._module import make_module
from supple.elastic._native import Extraction, Native, Prefer, checked_preference
from supple.elastic._plan import GraphRunner, Plan
from supple.elastic._report import Report, make_report, most_common_reason
from supple.elastic._resizing import resize_example
from supple.elastic._statistics import counter_of
from supple.elastic._stored import own_parameters, share_weights
from supple.elastic._sub_network import SubNetwork
from supple.elastic._weights import load_weights, save_weights
from supple.elastic.importance._base import Scorer
from supple.errors import TraceError
from supple.space import Config, Option, Space
from supple.trace import (
    Analysis,
    Axis,
    Capture,
    Example,
    Reason,
    Stage,
    Structure,
    asks_for_mode,
)
from supple.trace._axis import fix, pin
from supple.trace._deadline import is_time_for_as_much, time_limit

__all__ = ["Elastic"]


class Elastic(nn.Module):
    """A model whose structure may vary.

    The whole network has one mode: ``train`` and ``eval`` of parts of it have no effect. It is
    called as the example was: tensors of the same shapes, with any batch if that is free.

    Args:
        model: Any module that ``torch.export`` can capture. It is not changed: the weights are
            copied.
        example: Arguments of one call, a tuple (positional) or a dict (keywords). Dimension 0 of
            the tensors that share it is the batch, which may then have any size.
        elasticity: How far and how finely the model may vary.
        time_limit_s: Seconds that capturing and analysing may take; None for any time.

    Raises:
        ExampleError: The model cannot be called with the example.
        TraceError: The model cannot be captured, takes too long, or is elastic nowhere.
        SpaceError: A pattern of ``elasticity`` matches nothing in the model.

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
        self,
        model: nn.Module,
        example: Example,
        elasticity: Elasticity | None = None,
        *,
        time_limit_s: float | None = 60.0,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TraceError(
                f"the model is a {type(model).__name__}, not a torch.nn.Module.",
                hint="pass the module itself, for instance Elastic(model, (x,)).",
            )
        self._elasticity = elasticity or Elasticity()
        self._notes: tuple[str, ...] = ()
        self._class_name = type(model).__name__
        with time_limit(time_limit_s, self._class_name):
            captured = self._captured(model, example)
            self._native = Native(model, captured.example)
            self._adopt(model, captured)
            self._check(model, captured)
            own_parameters(self)
        if not self.space:
            raise TraceError(
                f"{self._class_name} is elastic nowhere: no size of it may vary.",
                why=most_common_reason(self._structure),
                hint="see supple.trace for the operators that have rules, or widen Elasticity.",
            )
        self.train(model.training)

    # -- construction -------------------------------------------------------------------------
    def _captured(
        self, model: nn.Module, example: Example, first: Captured | None = None
    ) -> Captured:
        ratios = self._elasticity.input_ratios
        return capture_model(model, example, first=first, input_ratios=ratios)

    def _adopt(self, model: nn.Module, captured: Captured) -> None:
        """Takes over the weights and works out what may vary."""
        self._notes = captured.notes
        self._captures = captured.captures
        self._smaller = captured.smaller
        self._resizing = captured.resizing
        self._names = share_weights(self, model, captured.all_captures)
        leaves = example_leaves(captured.example)
        self._device = next(v.device for v in leaves if isinstance(v, Tensor))
        batch = batch_leaves(leaves)
        shapes = {n: tuple(t.shape) for n, t in self.tensors().items()}
        graphs = captured.all_captures
        analysis = Analysis(
            graphs,
            shapes,
            self._names.canonical,
            frozenset(batch),
            cuts_experts=self._elasticity.experts,
        )
        self._structure = Structure(analysis, self._names.parameters)
        is_free = analysis.batch_axis.find().is_runtime
        self._signature = Signature.of(model, captured.example, batch if is_free else ())
        self._orders: list[Tensor | None] = [None] * len(self._structure.axes)
        self._block_orders = {
            stage.name: tuple(range(len(stage.blocks))) for stage in _stages(self._structure)
        }
        self._left_whole: frozenset[str] = frozenset()
        self._build()

    def _build(self) -> None:
        """Everything that follows from the structure, the elasticity and the orders."""
        tensors = self.tensors()
        device = next(iter(tensors.values())).device if tensors else self._device
        self._cutter = Cutter(self._structure, device)
        self._space = build_space(
            self._structure, self._elasticity, self._block_orders, self._left_whole, self._sizes
        )
        self.renew_programs()

    def renew_programs(self) -> None:
        """Writes again what runs the graphs, after something in them changed."""
        device = self._cutter.device
        self._runners = self._make_runners(self._captures, device)
        self._smaller_runners = {
            size: self._make_runners(captures, device) for size, captures in self._smaller.items()
        }
        self._plans: dict[Config, Plan] = {}
        self._full = self._make_plan({})

    def _make_runners(self, captures: Sequence[Capture], device: torch.device) -> list[GraphRunner]:
        """What runs the graphs of one size of the input: for evaluation, and for training."""
        runners = [
            GraphRunner(self, self._structure, one, self._names.canonical, self._device)
            for one in captures
        ]
        for runner in runners:
            runner.program.move(device)
        return runners

    @property
    def _sizes(self) -> tuple[str, tuple[int, ...]] | None:
        """Name and options of the choice of the input's size."""
        if self._resizing is None:
            return None
        return self._resizing.name, (*sorted(self._smaller), self._resizing.size)

    def _check(self, model: nn.Module, captured: Captured) -> None:
        """Compares with the model, and fixes what cannot be cut."""
        attentions = Attentions(captured.all_captures)
        small, shapes = self._check_evaluation(model, captured.example, attentions)
        asks = asks_for_mode(model)
        alike = trains_alike(self, model, small, attentions, gradients=asks)
        if not alike and (asks or alike is False) and not is_time_for_as_much():
            self._notes += (f"{AS_IN_EVALUATION}: {_NO_TIME}",)
        elif not alike and (asks or alike is False):
            captured = self._captured(model, captured.example, first=captured)
            self._adopt(model, captured)
            attentions = Attentions([])
            small, shapes = self._check_evaluation(model, captured.example, attentions)
            alike = trains_alike(self, model, small, attentions, gradients=asks)
        if not alike and not any(note.startswith(AS_IN_EVALUATION) for note in self._notes):
            self._notes += (_TRAINING_NOTES[alike],)
        if not self._signature.batch:
            reason = self._structure.analysis.batch_axis.find().reason
            by = f" by {reason.operator}: {reason.text} {reason.where}" if reason else ""
            note = f"the batch size is fixed to {self._signature.batch_size}{by}"
            self._notes += (note.rstrip(),)
        self._check_sizes(model, small, shapes)
        broken = broken_choices(self, small, shapes)
        for name, problem in broken.items():
            self._notes += (f"{name} is left whole: cutting it failed ({problem})",)
            for axis in self._structure.axes:
                if axis.name == name:
                    fix(axis.axis, Reason("check", f"cannot be cut: {problem}"))
        if broken:
            self._left_whole = frozenset(broken)
            self._build()

    def _check_sizes(self, model: nn.Module, example: Example, want: Shapes) -> None:
        """Leaves out the sizes of the input at which a graph is not the model."""
        if not self._smaller:
            return
        for size in list(self._smaller):
            assert self._resizing is not None
            plan = dataclasses.replace(self._full, is_full=False, pieces={}, input_size=size)
            smaller = resize_example(example, self._resizing, size)
            problem = size_problem(self, plan, model, example, smaller, want)
            if problem:
                self._notes += (f"{self._resizing.name} {size} is not offered: {problem}",)
                del self._smaller[size]
        self._build()

    def _check_evaluation(
        self, model: nn.Module, example: Example, attentions: Attentions
    ) -> tuple[Example, Shapes]:
        """Compares in evaluation, and fixes the batch where another does not run.

        What holds on a batch of another size than the captured one need not be tried on that.

        Returns:
            The example to go on with, a small one where that runs, and the output's shapes.
        """
        if self._signature.batch:
            small = other_batch(example, self._signature.batch_size)
            shapes = runs_alike(self, model, small, attentions)
            if shapes is not None:
                return small, shapes
        shapes = check_evaluation(self, model, example, attentions)
        if self._signature.batch:
            self._fix_batch()
        return example, shapes

    def _fix_batch(self) -> None:
        self._signature = dataclasses.replace(self._signature, batch=frozenset())
        axis = self._structure.analysis.batch_axis.find()
        if axis.kind == "atom":
            pin(axis, Reason("batch", "a number in the captured graph depends on it"))
        self._build()

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
    def elasticity(self) -> Elasticity:
        """How far the model may vary, as it was asked for."""
        return self._elasticity

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the capture."""
        return self._notes

    @property
    def signature(self) -> Signature:
        """How the network is called."""
        return self._signature

    @property
    def batch_size(self) -> int | None:
        """The only batch size the network takes, or None for any."""
        return None if self._signature.batch else self._signature.batch_size

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The full network."""
        return self.run(self._full, args, kwargs)

    def at(self, config: Mapping[str, Option]) -> SubNetwork:
        """The sub-network of a config: it shares the weights and the mode of this network.

        In training mode batch norm uses the statistics of the batch; only the full network
        updates the running ones (recalibrate what you extract).

        Raises:
            ConfigError: The config is not one of this space.
        """
        if not (isinstance(config, Config) and config in self._plans):
            config = self._space.validate(config)
        return SubNetwork(self, config)

    def extract(self, config: Mapping[str, Option], *, prefer: Prefer = "native") -> nn.Module:
        """The sub-network as a plain module with weights of its own.

        It takes and returns what the model does, and its state dict has the model's names, less
        those of skipped blocks. Indices keep the order of the model that was brought, so the
        largest config gives that model back exactly.

        Args:
            config: Which sub-network.
            prefer: ``"native"``: the model's own classes, shrunk in place, wherever that is tried
                and found to give the same network, else as with ``"graph"``: a module around the
                captured graph. `extraction` says which it was and why.

        Raises:
            ConfigError: The config is not one of this space.
        """
        return self.extraction(config, prefer=prefer).network

    def extraction(self, config: Mapping[str, Option], *, prefer: Prefer = "native") -> Extraction:
        """The sub-network of `extract`, with what it is made of and why.

        Raises:
            ConfigError: The config is not one of this space.
        """
        plan = self.plan(self._space.validate(config))
        graph = self._extracted_graph(plan)
        if checked_preference(prefer) == "graph":
            return Extraction(network=graph, kind="graph", reason="it was asked for")
        if plan.input_size is not None:
            reason = "its input is made smaller first, which the model's own classes do not do"
            return Extraction(network=graph, kind="graph", reason=reason)
        return self._native.extraction(
            self._structure, plan, graph, any_batch=self.batch_size is None
        )

    def _extracted_graph(self, plan: Plan) -> nn.Module:
        """A plan as a module around its graph, with tensors of its own."""
        places = (self._device, self._cutter.device)
        runners, resize = self._runners, []
        if plan.input_size is not None and self._resizing is not None:
            runners = self._smaller_runners[plan.input_size]
            resize = self._resizing.calls(plan.input_size)
        specialisers = [
            Specialiser(
                self._structure,
                runner.one,
                plan,
                runner.dropped(plan),
                self._signature,
                places,
                resize,
            )
            for runner in runners
        ]
        graphs = [specialiser.build() for specialiser in specialisers]
        kept = self._kept({name for s in specialisers for name in s.stored})
        own = self._own_tensors(plan, kept)
        parameters: dict[str, nn.Parameter] = {}
        buffers: dict[str, tuple[Tensor, bool]] = {}
        for name, first in self._names.aliases(kept).items():
            tensor = own[first]
            if isinstance(tensor, nn.Parameter):
                parameters[name] = tensor
            else:
                buffers[name] = (tensor, name in self._names.persistent)
        module = make_module(
            self._class_name,
            {False: graphs[0], True: graphs[-1]},
            self._signature,
            {False: runners[0].one.out_spec, True: runners[-1].one.out_spec},
            parameters,
            buffers,
            {name: block for s in specialisers for name, block in s.blocks.items()},
        )
        return module.train(self.training)

    def _kept(self, read: set[str]) -> list[str]:
        """The tensors of a sub-network: those its graphs read, and those no graph ever did."""
        runners = [*self._runners, *(r for rs in self._smaller_runners.values() for r in rs)]
        ever = {name for runner in runners for name in runner.program.stored}
        left_out = ever - read
        left_out |= {counter_of(name) for name in left_out if name.endswith("running_mean")}
        names = [*self._names.parameters, *self._names.buffers]
        return [name for name in names if name in read or name not in left_out]

    def _own_tensors(self, plan: Plan, names: Sequence[str]) -> dict[str, Tensor]:
        shared = self.tensors()
        chosen = {name: shared[name] for name in names}
        return self._cutter.own(chosen, plan.counts, plan.windows, self._orders)

    def without_blocks(self, blocks: Mapping[str, Sequence[int]]) -> SubNetwork:
        """The full network without some blocks, given by stage name and position in the stage."""
        gone = {
            block.name
            for stage in self._structure.stages
            for i, block in enumerate(stage.blocks)
            if i in blocks.get(stage.name, ())
        }
        plan = dataclasses.replace(
            self._full, blocks=self._full.blocks - gone, is_full=not gone, pieces={}
        )
        return SubNetwork(self, self._space.largest, plan)

    def dropped_blocks(self, config: Mapping[str, Option]) -> dict[str, list[str]]:
        """Names of the blocks that a config leaves out, by name of the depth choice."""
        kept = self.plan(self._space.validate(config)).blocks
        return {
            f"{stage.name}.depth": [b.name for b in stage.blocks if b.name not in kept]
            for stage in _stages(self._structure)
            if stage in self._structure.stages or f"{stage.name}.depth" in self._space
        }

    def report(self) -> Report:
        """What is elastic, what is not, and why."""
        return make_report(self._structure, self._space, self.tensors(), self._notes)

    # -- order and weights --------------------------------------------------------------------
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
                None if score is None else torch.argsort(score, descending=True, stable=True).cpu()
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
            for name, tensor in self.tensors().items():
                for dim, axis in enumerate(self._structure.analysis.stored[name]):
                    positions = kept_positions(axis, selection)
                    if positions is not None:
                        tensor.copy_(tensor.index_select(dim, positions.to(tensor.device)))
        for i, permutation in enumerate(permutations):
            if permutation is not None:
                order = self._orders[i]
                self._orders[i] = permutation if order is None else order[permutation]

    def restore_order(self) -> None:
        """Stores the indices in the order of the model that was brought."""
        self._permute([None if order is None else torch.argsort(order) for order in self._orders])
        self._orders = [None] * len(self._structure.axes)

    def tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer once, by canonical name, as it is stored now."""
        parameters = dict(self.named_parameters(remove_duplicate=False))
        buffers = dict(self.named_buffers(remove_duplicate=False))
        found: dict[str, Tensor] = {name: parameters[name] for name in self._names.parameters}
        return found | {name: buffers[name] for name in self._names.buffers}

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter once, by canonical name, as it is stored now."""
        parameters = dict(self.named_parameters(remove_duplicate=False))
        for name in self._names.parameters:
            yield name, parameters[name]

    def original_state(self) -> dict[str, Tensor]:
        """The weights under the names, and in the order, of the model that was brought.

        ``model.load_state_dict(net.original_state())`` gives the full network as that model.
        """
        names = [*self._names.parameters, *self._names.buffers]
        own = self._own_tensors(self._full, names)
        return {
            name: own[first].detach()
            for name, first in self._names.canonical.items()
            if first in self._names.parameters or name in self._names.persistent
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

    # -- running ------------------------------------------------------------------------------
    def plan(self, config: Config) -> Plan:
        """A config of this space in the terms of the generated programs."""
        plan = self._plans.get(config)
        if plan is None:
            if len(self._plans) >= 10_000:
                self._plans.clear()
            plan = self._plans[config] = self._make_plan(config)
        return plan

    def _make_plan(self, config: Mapping[str, Option]) -> Plan:
        """What is kept; a choice that is not in the config is left whole."""
        structure = self._structure
        counts = tuple(int(config.get(axis.name, axis.size)) for axis in structure.axes)
        windows = tuple(int(config.get(f"{k.name}.kernel", k.size)) for k in structure.kernels)
        kept = set()
        for stage in _stages(structure):
            depth = int(config.get(f"{stage.name}.depth", len(stage.blocks)))
            kept |= {stage.blocks[i].name for i in self._block_orders[stage.name][:depth]}
        size = None
        if self._resizing is not None:
            chosen = int(config.get(self._resizing.name, self._resizing.size))
            size = None if chosen == self._resizing.size else chosen
        taken = {
            site.choice: str(config.get(site.choice, site.options[0])) for site in structure.swaps
        }
        is_full = (
            all(taken[site.choice] == site.options[0] for site in structure.swaps)
            and counts == tuple(axis.size for axis in structure.axes)
            and windows == tuple(kernel.size for kernel in structure.kernels)
            and size is None
            and len(kept) == len({b.name for stage in _stages(structure) for b in stage.blocks})
        )
        kept |= {site.key(taken[site.choice]) for site in structure.swaps}
        return Plan(counts, windows, frozenset(kept), is_full, {}, size)

    def run(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs a plan on the arguments of a call."""
        leaves = self._signature.flatten(args, kwargs)
        runners = self._runners
        if plan.input_size is not None and self._resizing is not None:
            runners = self._smaller_runners[plan.input_size]
            leaves = self._resizing.apply(leaves, plan.input_size)
        runner = runners[-1 if self.training else 0]
        leaf = self._signature.batch_leaf
        batch = self._signature.batch_size if leaf is None else int(leaves[leaf].shape[0])
        outputs = runner.run(plan, self._cutter, self.training, batch, leaves)
        return pytree.tree_unflatten(outputs, runner.one.out_spec)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device = next(iter(self.tensors().values())).device
        self._cutter = Cutter(self._structure, device)
        self._plans.clear()
        self._full.pieces.clear()
        for runner in (*self._runners, *(r for rs in self._smaller_runners.values() for r in rs)):
            runner.program.move(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Elastic:
        twin = Elastic.__new__(Elastic)
        memo[id(self)] = twin
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
        return twin


def _stages(structure: Structure) -> list[Stage]:
    """Stages of layers, and of the parts within them."""
    return [*structure.stages, *structure.parts]


_NO_TIME = "a graph for training would take longer than the time limit (time_limit_s)"
_TRAINING_NOTES = {
    None: "training mode could not be checked: the model does not run on the example in it",
    False: "training mode differs from the model's own: something in it is not captured",
}
