"""Examples and inputs: their leaves, their batch, and calling a network with them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.errors import ExampleError, SuppleError, TraceError
from supple.trace import Capture, Example, capture, split_example

__all__ = [
    "batch_leaves",
    "call_example",
    "capture_batched",
    "example_leaves",
    "flatten_inputs",
    "input_names",
    "relative_difference",
    "resize_batch",
]


def example_leaves(example: Example) -> list[Any]:
    """All tensors and other values of an example, in the order the network takes them."""
    return pytree.tree_leaves(split_example(example))


def batch_leaves(leaves: Sequence[Any]) -> list[int]:
    """Positions of the tensors whose dimension 0 is that of the first tensor: the batch."""
    tensors = [(i, v) for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.ndim > 0]
    if not tensors:
        return []
    size = tensors[0][1].shape[0]
    return [i for i, v in tensors if v.shape[0] == size] if size > 1 else []


def resize_batch(example: Example, size: int) -> Example:
    """The example with ``size`` samples, made by repeating its own."""
    args, kwargs = split_example(example)
    leaves, spec = pytree.tree_flatten((args, kwargs))
    tensors = [v for v in leaves if isinstance(v, Tensor) and v.ndim > 0]
    have = tensors[0].shape[0]
    index = torch.arange(size) % have

    def resized(value: Any) -> Any:
        is_batch = isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == have
        return value[index.to(value.device)] if is_batch else value

    rebuilt: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(
        [resized(v) for v in leaves], spec
    )
    return rebuilt[1] or rebuilt[0]


def capture_batched(model: nn.Module, example: Example) -> tuple[list[Capture], Example]:
    """Captures a model on a batch of at least two, where it takes one.

    With a single sample the batch looks like any other dimension of size one, which broadcasts.

    Returns:
        The graphs, and the example they were captured with.
    """
    args, kwargs = split_example(example)
    first = next(v for v in pytree.tree_leaves((args, kwargs)) if isinstance(v, Tensor))
    if first.ndim > 0 and first.shape[0] == 1:
        try:
            doubled = resize_batch(example, 2)
            return capture(model, doubled), doubled
        except (SuppleError, RuntimeError):
            pass  # the model insists on one sample; it is captured as it is
    return capture(model, example), example


def call_example(network: Any, example: Example) -> Any:
    """The network's output on an example."""
    args, kwargs = split_example(example)
    return network(*args, **kwargs)


def input_names(model: nn.Module, example: Example) -> list[str]:
    """A name for every leaf of the input, after the parameters of ``forward``."""
    args, kwargs = split_example(example)
    parameters = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    heads = [parameters[i] if i < len(parameters) else f"input_{i}" for i in range(len(args))]
    names: list[str] = []
    for head, value in [*zip(heads, args, strict=True), *kwargs.items()]:
        count = len(pytree.tree_leaves(value))
        names += [head] if count == 1 else [f"{head}_{i}" for i in range(count)]
    return names


def flatten_inputs(
    one: Capture, args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str]
) -> list[Any]:
    """The leaves of a call's arguments, in the order of the graph's inputs.

    Raises:
        ExampleError: The arguments are not built like those of the example.
    """
    wanted_args, wanted_kwargs = one.in_spec.children()
    keys = list(wanted_kwargs.context)
    if len(keys) == len(kwargs) and keys != list(kwargs):
        kwargs = {k: kwargs[k] for k in keys if k in kwargs}
    if len(args) > wanted_args.num_children and wanted_kwargs.num_children:
        pass  # falls through to the error below
    elif len(args) + len(kwargs) == len(keys) and not kwargs and keys:
        args, kwargs = (), dict(zip(keys, args, strict=True))
    leaves, spec = pytree.tree_flatten((args, kwargs))
    if spec != one.in_spec:
        raise ExampleError(
            f"the network was called with {len(args)} positional and {sorted(kwargs)} keyword "
            f"arguments, but was made for {wanted_args.num_children} and {keys}.",
            hint=f"call it as with the example: {', '.join(names)}.",
        )
    return leaves


def relative_difference(got: Any, want: Any) -> float:
    """The largest difference between two outputs, relative to the scale of the second.

    Raises:
        TraceError: The outputs are built differently.
    """
    a, b = (
        [leaf for leaf in pytree.tree_leaves(v) if isinstance(leaf, Tensor)] for v in (got, want)
    )
    if [t.shape for t in a] != [t.shape for t in b]:
        raise TraceError(
            f"outputs of shapes {[tuple(t.shape) for t in a]} and "
            f"{[tuple(t.shape) for t in b]} cannot be compared.",
            hint="compare the same network on the same inputs.",
        )
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if torch.equal(x, y) or y.numel() == 0:
            continue
        if not (y.is_floating_point() or y.is_complex()):
            return float("inf")
        both_nan = torch.isnan(x) & torch.isnan(y)
        gap = torch.where(both_nan | (x == y), torch.zeros_like(x), x - y).abs().max().item()
        finite = y[torch.isfinite(y)]
        scale = finite.abs().max().item() if finite.numel() else 1.0
        worst = max(worst, gap / max(scale, 1e-30) if gap == gap else float("inf"))
    return worst
