"""From a module to a graph of ATen calls, by ``torch.export``.

A model whose own code asks ``self.training`` may be another graph in training mode and is then
captured in both modes. Batch norm and dropout of ``torch.nn`` only flip a flag, fused attention
only has another rate of dropout: one graph does for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from supple.errors import ExampleError, TraceError
from supple.trace._deadline import OutOfTime, is_over, limited_calls
from supple.trace._exporting import exporting, finish_code
from supple.trace._graph import clean
from supple.trace._modes import (
    averaging_modules,
    averaging_norms,
    in_mode,
    switching_modules,
)
from supple.trace._places import forward_line, user_line
from supple.trace._swap import all_alternatives

__all__ = ["Capture", "Example", "capture", "same_randomness", "split_example"]

Example = tuple[Any, ...] | Mapping[str, Any]
"""Example arguments of a model: a tuple of positional ones or a dict of keyword ones."""


@dataclass(frozen=True)
class Source:
    """Where a placeholder's value comes from.

    Attributes:
        kind: ``"parameter"``, ``"buffer"``, ``"constant"`` or ``"input"``.
        name: The qualified name in the model; for an input its position among the leaves.
    """

    kind: str
    name: str


@dataclass
class Capture:
    """One captured graph.

    Attributes:
        graph: Calls of ATen operators.
        sources: What each placeholder stands for.
        constants: Tensors that the model holds outside parameters and buffers.
        in_spec: How the leaves of the inputs make up ``(args, kwargs)``.
        out_spec: How the leaves of the output make up what the model returns.
        is_training: The mode the graph was captured in.
        switching: Qualified names of the norms and dropouts of ``torch.nn`` that are on in
            training mode.
        averaging: Those of the batch norms whose running statistics are plain averages
            (``momentum=None``).
        is_alone: The graph serves both modes.
        rates: For calls of fused attention the dropout they have in training, where the graph
            serves both modes.
    """

    graph: fx.Graph
    sources: dict[fx.Node, Source]
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    is_training: bool
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    switching: frozenset[str] = frozenset()
    averaging: frozenset[str] = frozenset()
    is_alone: bool = True
    rates: dict[fx.Node, float] = field(default_factory=dict)

    @property
    def calls(self) -> list[fx.Node]:
        """The operator calls in order."""
        return [n for n in self.graph.nodes if n.op == "call_function"]

    @property
    def outputs(self) -> list[Any]:
        """The leaves of the output: nodes and constants."""
        (node,) = (n for n in self.graph.nodes if n.op == "output")
        return list(node.args[0])


def split_example(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as ``(args, kwargs)``.

    Raises:
        ExampleError: It is neither a tuple (or list) nor a mapping, or holds no tensor.
    """
    if isinstance(example, Mapping):
        args: tuple[Any, ...] = ()
        kwargs = {str(k): v for k, v in example.items()}
    elif isinstance(example, (tuple, list)):
        args, kwargs = tuple(example), {}
    else:
        raise ExampleError(
            f"the example is a {type(example).__name__}, not a tuple or dict of arguments.",
            hint="pass (x,) for a model called as model(x), or {'name': x} for model(name=x).",
        )
    if not any(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves((args, kwargs))):
        raise ExampleError(
            "the example holds no tensor.",
            hint="pass the arguments of one call of the model, for instance (torch.randn(2, 3),).",
        )
    return args, kwargs


def capture(model: nn.Module, example: Example, *, training: bool = False) -> Capture:
    """Captures a model in one mode.

    Args:
        model: Any module that ``torch.export`` can capture; its mode is left as it was.
        example: Arguments of one call.
        training: The mode to capture it in.

    Raises:
        ExampleError: The model cannot be called with the example.
        TraceError: The model cannot be captured; the message names the line of the model.
    """
    args, kwargs = split_example(example)
    _check_is_plain(model)
    averaging = frozenset(name for name, _ in averaging_modules(model))
    with in_mode(model, training), averaging_norms(model), all_alternatives(model):
        found = _export(model, args, kwargs, training)
    return replace(found, averaging=averaging)


def _check_is_plain(model: nn.Module) -> None:
    """Modules in Python, tensors with values in plain memory."""
    name = type(model).__name__
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            which = f"'{path}' of {name}" if path else name
            raise TraceError(
                f"{which} is compiled by TorchScript.",
                why="torch.export captures modules that are written in Python.",
                hint="pass the module that was compiled.",
            )
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if nn.parameter.is_lazy(tensor):
            raise TraceError(
                f"'{key}' of {name} has no shape yet.",
                why="A lazy module takes its shape from the first input.",
                hint="call the model once before: model(*example).",
                tensor=key,
            )
        if tensor.is_meta:
            raise TraceError(
                f"'{key}' of {name} is on the device 'meta': it has no values.",
                hint="load weights first: model.to_empty(device='cpu'), then load_state_dict.",
                tensor=key,
            )
        if tensor.layout is not torch.strided:
            raise TraceError(
                f"'{key}' of {name} is stored as {tensor.layout}.",
                why="Only what is stored densely can be cut along its dimensions.",
                hint=f"store it densely before: model.{key}.to_dense().",
                tensor=key,
            )


@contextmanager
def same_randomness(tensors: Any) -> Iterator[None]:
    """Inside, torch draws from one fixed seed; afterwards its generators are as they were."""
    leaves = pytree.tree_leaves(tensors)
    devices = {v.device.index for v in leaves if isinstance(v, torch.Tensor) and v.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        torch.default_generator.manual_seed(0)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(0)
        yield


def _exported(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> torch.export.ExportedProgram:
    """What ``torch.export`` gives, with an eye on the time where that can be."""
    with same_randomness((args, kwargs)), exporting():
        try:
            with limited_calls():
                return torch.export.export(model, args, kwargs, strict=False)
        except Exception as error:
            # The compiler behind torch.cond and its like does not run where calls are watched.
            if not type(error).__module__.startswith("torch._dynamo"):
                raise
            return torch.export.export(model, args, kwargs, strict=False)


def _export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], is_training: bool
) -> Capture:
    try:
        program = _exported(model, args, kwargs)
    except SyntaxError:
        raise
    except Exception as error:
        if isinstance(error, OutOfTime) or is_over():
            raise OutOfTime(user_line(error)) from error
        _raise_clearly(model, args, kwargs, error)
    sources = _sources(program)
    finish_code(program.graph_module)
    clean(program.graph_module)
    return Capture(
        graph=program.graph,
        sources=sources,
        in_spec=program.call_spec.in_spec,
        out_spec=program.call_spec.out_spec,
        is_training=is_training,
        constants={k: v for k, v in program.constants.items() if isinstance(v, torch.Tensor)},
        switching=switching_modules(model),
    )


def _raise_clearly(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> None:
    place = user_line(error) or forward_line(model)
    shapes = [tuple(v.shape) for v in pytree.tree_leaves((args, kwargs)) if hasattr(v, "shape")]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(*args, **kwargs)
    except Exception as plain:
        raise ExampleError(
            f"the model cannot be called with the example (tensors of shape {shapes}): {plain}",
            why=f"It failed at {user_line(plain)}." if user_line(plain) else "",
            hint="check that model(*example), or model(**example) for a dict, runs by itself.",
            shapes=shapes,
        ) from plain
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    raise TraceError(
        f"torch.export cannot capture {type(model).__name__}: {first}",
        why=f"It stopped at {place}." if place else "",
        hint="make that line independent of tensor values (torch.where or torch.cond instead of "
        "if; no .item() or .tolist()), or pass the part of the model without it.",
        where=place,
    ) from error


def _sources(program: torch.export.ExportedProgram) -> dict[fx.Node, Source]:
    kinds = {
        InputKind.PARAMETER: "parameter",
        InputKind.BUFFER: "buffer",
        InputKind.CONSTANT_TENSOR: "constant",
        InputKind.USER_INPUT: "input",
    }
    placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
    sources: dict[fx.Node, Source] = {}
    inputs = 0
    for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
        if spec.kind not in kinds:
            raise TraceError(
                f"the model takes '{node.name}' as a {spec.kind.name.lower()}, not as a tensor.",
                hint="pass only tensors and plain Python values to the model.",
            )
        kind = kinds[spec.kind]
        if kind == "input":
            sources[node] = Source(kind, str(inputs))
            inputs += 1
        else:
            sources[node] = Source(kind, str(spec.target))
    return sources
