"""The model's own tree of modules without its weights, to be filled with smaller ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["emptied", "fill", "still_empty"]


def emptied(model: nn.Module) -> nn.Module:
    """A copy of a module whose parameters and buffers have shapes and no values.

    Raises:
        Exception: Whatever copying a part of the model raises.
    """
    with torch.random.fork_rng(devices=[]):  # a module may draw while it is copied
        return copy.deepcopy(model, {id(t): _empty(t) for t in _stored(model)})


def _stored(model: nn.Module) -> Iterable[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _empty(tensor: Tensor) -> Tensor:
    if tensor.is_meta:  # a shell that is copied again
        return tensor
    empty = torch.empty_like(tensor.detach(), device="meta")
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty


def fill(network: nn.Module, source: nn.Module) -> None:
    """Puts the tensors of ``source`` where a network has tensors of the same names.

    Tensors that a module holds as plain attributes are replaced too.
    """
    found: dict[str, Tensor] = dict(source.named_parameters(remove_duplicate=False))
    found |= dict(source.named_buffers(remove_duplicate=False))
    modules = dict(network.named_modules(remove_duplicate=False))
    for name, tensor in found.items():
        path, _, leaf = name.rpartition(".")
        module = modules.get(path)
        if module is None:
            continue
        if leaf in module._parameters:
            module._parameters[leaf] = tensor
        elif leaf in module._buffers:
            module._buffers[leaf] = tensor
        elif isinstance(vars(module).get(leaf), Tensor):
            setattr(module, leaf, tensor)


def still_empty(network: nn.Module) -> list[str]:
    """Names of the tensors that got no values."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return [name for name, tensor in named if tensor.is_meta]
