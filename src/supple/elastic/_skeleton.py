"""A bare tree of modules that holds parameters and buffers under their qualified names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["hold", "owner_of", "unchanged_buffers"]


def hold(
    root: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    buffers: Mapping[str, tuple[Tensor, bool]],
) -> None:
    """Registers tensors under dotted names, making modules in between as needed.

    Args:
        root: Where the tree starts.
        parameters: By qualified name.
        buffers: By qualified name, with whether they belong to the state dict.
    """
    # Not through register_parameter and the like: a model may call its parts what it wants, also
    # what the root has an attribute for.
    for name, parameter in parameters.items():
        owner, leaf = _owner(root, name)
        owner._parameters[leaf] = parameter
    for name, (buffer, is_persistent) in buffers.items():
        owner, leaf = _owner(root, name)
        owner._buffers[leaf] = buffer
        if not is_persistent:
            owner._non_persistent_buffers_set.add(leaf)


def owner_of(root: nn.Module, name: str) -> tuple[dict[str, Any], str]:
    """The dictionary of parameters or buffers that holds a qualified name, and its key there."""
    owner, leaf = _owner(root, name)
    holder = owner._parameters if leaf in owner._parameters else owner._buffers
    return holder, leaf


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root._modules[part] = nn.Module()
        child = root._modules[part]
        assert child is not None
        root = child
    return root, leaf


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Afterwards every buffer is the tensor it was, with the values it had."""
    kept = [
        (part._buffers, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for holder, name, buffer, value in kept:
                holder[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
