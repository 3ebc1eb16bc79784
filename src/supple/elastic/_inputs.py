"""Examples and calls: how the arguments of a call become the inputs of the captured graph."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.errors import ExampleError
from supple.trace import Example, split_example

__all__ = [
    "Signature", "batch_leaves", "call_example", "copied_arguments", "example_leaves",
    "resize_batch",
]  # fmt: skip


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
        return value.detach()[index.to(value.device)] if is_batch else value

    rebuilt: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(
        [resized(v) for v in leaves], spec
    )
    return rebuilt[1] if isinstance(example, Mapping) else rebuilt[0]


def call_example(network: Any, example: Example) -> Any:
    """The network's output on an example, whose tensors are not written."""
    args, kwargs = copied_arguments(example)
    return network(*args, **kwargs)


def copied_arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as ``(args, kwargs)``, with tensors of its own."""
    copied: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map(
        lambda v: v.detach().clone() if isinstance(v, Tensor) else v, split_example(example)
    )
    return copied


@dataclass(frozen=True)
class Signature:
    """How a network is called: like its example, with any batch if that is free.

    Attributes:
        heads: Names of the positional arguments, after the parameters of ``forward``.
        keys: Names of the keyword arguments.
        spec: How the leaves make up ``(args, kwargs)``.
        leaves: The example's leaves: shapes for tensors, else the values themselves.
        batch: Positions of the leaves whose dimension 0 is the batch.
        names: A name for every leaf, after the argument it is part of.
        is_flat: Every argument is one tensor or value.
    """

    heads: tuple[str, ...]
    keys: tuple[str, ...]
    spec: pytree.TreeSpec
    leaves: tuple[Any, ...]
    batch: frozenset[int]
    names: tuple[str, ...]
    is_flat: bool

    @classmethod
    def of(cls, model: nn.Module, example: Example, batch: Sequence[int]) -> Signature:
        """The signature of a model called with an example."""
        args, kwargs = split_example(example)
        leaves, spec = pytree.tree_flatten((args, kwargs))
        parameters = [
            p.name
            for p in inspect.signature(model.forward).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        heads = [parameters[i] if i < len(parameters) else f"input_{i}" for i in range(len(args))]
        arguments = [*zip(heads, args, strict=True), *kwargs.items()]
        names: list[str] = []
        for name, value in arguments:
            count = len(pytree.tree_leaves(value))
            is_leaf = pytree.tree_structure(value).is_leaf()
            names += [name] if is_leaf else [f"{name}_{i}" for i in range(count)]
        return cls(
            heads=tuple(heads),
            keys=tuple(kwargs),
            spec=spec,
            leaves=tuple(v.shape if isinstance(v, Tensor) else v for v in leaves),
            batch=frozenset(batch),
            names=tuple(names),
            is_flat=len(names) == len(arguments) and set(names) == {*heads, *kwargs},
        )

    @property
    def batch_leaf(self) -> int | None:
        """The leaf whose dimension 0 is read as the batch size; None if that is fixed."""
        return min(self.batch, default=None)

    @property
    def batch_size(self) -> int:
        """The example's batch size; 1 where no tensor has dimensions."""
        sizes = (shape[0] for shape in self.leaves if isinstance(shape, torch.Size) and shape)
        return int(next(sizes, 1))

    # -- a call -------------------------------------------------------------------------------
    def flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The leaves of a call's arguments, in the order of the graph's inputs.

        Raises:
            ExampleError: The arguments are not like those of the example.
        """
        if self.is_flat and not kwargs and len(args) == len(self.leaves):
            leaves = list(args)  # the quick way
        else:
            leaves = self._leaves(self._named(args, kwargs))
        self._check_values(leaves)
        self._check_shapes(leaves)
        return leaves

    def flatten_freely(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The same, but tensors may have any shape."""
        leaves = self._leaves(self._named(args, kwargs))
        self._check_values(leaves)
        return leaves

    def _leaves(self, given: dict[str, Any]) -> list[Any]:
        ordered = (
            tuple(given[name] for name in self.heads),
            {name: given[name] for name in self.keys},
        )
        leaves, spec = pytree.tree_flatten(ordered)
        if spec != self.spec:
            raise ExampleError(
                "the network was called with arguments that are not built like the example's.",
                why=f"The example is {_shown(self.spec)}, the call is {_shown(spec)}.",
                hint=f"call it as with the example: {', '.join(self.names)}.",
            )
        return leaves

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; plain values of the example may be left out."""
        names = (*self.heads, *self.keys)
        given = dict(zip(names, args, strict=False))
        given |= {k: v for k, v in kwargs.items() if k not in given}
        for name, leaf in zip(self.names, self.leaves, strict=True):
            if not isinstance(leaf, torch.Size) and name in names:
                given.setdefault(name, leaf)
        twice = [k for k in kwargs if k in names[: len(args)]]
        if len(args) > len(names) or twice or set(given) != set(names):
            raise ExampleError(
                f"the network was called with {len(args)} positional and {sorted(kwargs)} keyword "
                f"arguments, but was made for {list(names)}.",
                hint=f"call it as with the example: {', '.join(self.names)}.",
            )
        return given

    def _check_values(self, leaves: list[Any]) -> None:
        """Tensors are where the example has tensors, and plain values are the example's."""
        for i, (leaf, wanted) in enumerate(zip(leaves, self.leaves, strict=True)):
            if isinstance(wanted, torch.Size):
                if not isinstance(leaf, Tensor):
                    self._raise(i, f"is a {type(leaf).__name__}", "a tensor")
            elif isinstance(leaf, Tensor) or (leaf is not wanted and leaf != wanted):
                self._raise(i, f"is {leaf!r}", f"{wanted!r}")

    def _check_shapes(self, leaves: list[Any]) -> None:
        """Shapes are those of the example, the batch apart, which is one for all."""
        size = None
        for i, (leaf, wanted) in enumerate(zip(leaves, self.leaves, strict=True)):
            if not isinstance(wanted, torch.Size):
                continue
            shape = leaf.shape
            if i not in self.batch:
                if shape != wanted:
                    self._raise(i, f"has shape {tuple(shape)}", f"shape {tuple(wanted)}")
            elif len(shape) != len(wanted) or shape[1:] != wanted[1:]:
                self._raise(i, f"has shape {tuple(shape)}", f"shape {('any', *wanted[1:])}")
            else:
                size = size or shape[0]
                if shape[0] != size:
                    self._raise(i, f"has a batch of {shape[0]}", f"one of {size} as before it")

    def _raise(self, i: int, found: str, wanted: str) -> None:
        raise ExampleError(
            f"argument '{self.names[i]}' {found}, but the network was made for {wanted}.",
            why="What the example does not vary is part of the captured graph.",
            hint="make another Elastic with an example of that kind, or pad or resize the input.",
            argument=self.names[i],
        )


def _shown(spec: pytree.TreeSpec) -> str:
    return " ".join(str(spec).split())
