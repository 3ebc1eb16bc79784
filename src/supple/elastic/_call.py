"""How supple calls a network: what an example is, which dimension is the batch, which mode.

An example is a tensor, a tuple of positional arguments or a dict of keyword arguments. The
batch is dimension 0 of the first tensor with dimensions, and of every tensor as long there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = [
    "Network",
    "batch_of",
    "batch_size",
    "call",
    "evaluating",
    "has_batch",
    "input_arguments",
    "module_behind",
    "tensors_in",
]

Network = nn.Module | Callable[..., Any]
"""A module, or a sub-network that is called like one."""


def input_arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments an example stands for."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def call(network: Network, inputs: Any) -> Any:
    """Runs a network on a batch: tensor -> net(x), tuple or list -> net(*x), dict -> net(**x)."""
    args, kwargs = input_arguments(inputs)
    return network(*args, **kwargs)


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors of a nested structure, in order."""
    args, kwargs = input_arguments(tree)
    return [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]


def batch_size(example: Any) -> int:
    """The length of the batch dimension; 1 where no tensor has a dimension."""
    return next((int(tensor.shape[0]) for tensor in tensors_in(example) if tensor.dim()), 1)


def has_batch(tensor: Tensor, size: int) -> bool:
    """Whether dimension 0 of an example's tensor is its batch of ``size``."""
    return tensor.dim() > 0 and tensor.shape[0] == size


def batch_of(example: Any, size: int, *, seed: int = 0) -> Any:
    """Other inputs like the example's, with ``size`` samples.

    Every value is one the example holds at that input, so that token ids stay in the vocabulary
    and a probability stays one: floating tensors are drawn anew from their own values (a constant
    one is raised by a uniform draw), others repeat the example's rows, rolled along the last
    dimension once per repetition. Tensors without the batch dimension stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = batch_size(example)
    renewed: dict[int, Tensor] = {}

    def renew(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not has_batch(leaf, rows) or not leaf.numel():
            return leaf
        # One tensor given as several arguments stays one: networks ask "key is query".
        if id(leaf) not in renewed:
            draw = _drawn if leaf.is_floating_point() else _rolled
            renewed[id(leaf)] = draw(leaf.detach(), size, generator)
        return renewed[id(leaf)]

    args, kwargs = pytree.tree_map(renew, input_arguments(example))
    if kwargs or isinstance(example, Mapping):
        return kwargs
    return args if isinstance(example, (tuple, list)) else args[0]


def _drawn(tensor: Tensor, size: int, generator: torch.Generator) -> Tensor:
    shape = (size, *tensor.shape[1:])
    values = tensor.reshape(-1)
    if bool((values == values[0]).all()):
        noise = torch.rand(shape, generator=generator, dtype=torch.float64)
        return values[0] + noise.to(tensor)
    count = size * tensor[0].numel()
    picked = torch.randint(len(values), (count,), generator=generator).to(tensor.device)
    return values[picked].reshape(shape)


def _rolled(tensor: Tensor, size: int, _: torch.Generator) -> Tensor:
    rows = [tensor[index % len(tensor)] for index in range(size)]
    rolled = [
        row.roll(index // len(tensor), dims=-1) if row.dim() else row
        for index, row in enumerate(rows)
    ]
    return torch.stack(rolled) if rolled else tensor[:0]


def module_behind(network: Network) -> nn.Module | None:
    """The module whose mode and weights a network uses: itself, or a sub-network's whole."""
    if isinstance(network, nn.Module):
        return network
    whole = getattr(network, "net", None)
    return whole if isinstance(whole, nn.Module) else None


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Eval mode without gradients; the mode of every module and torch's random state return."""
    module = module_behind(network)
    modes = [] if module is None else [(part, part.training) for part in module.modules()]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            if module is not None:
                _set_mode(module, training=False)
            yield
        finally:
            if module is not None:
                _set_mode(module, training=modes[0][1])
            # A part may have had another mode than the whole, as frozen batch norms do.
            for part, training in modes:
                part.training = training


def _set_mode(module: nn.Module, *, training: bool) -> None:
    # An exported program has one mode for good and says so.
    with suppress(NotImplementedError):
        module.train(training)
