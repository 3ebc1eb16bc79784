"""A bare tree of modules that holds parameters and buffers under their qualified names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["hold", "owner_of"]


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
    for name, parameter in parameters.items():
        owner, leaf = _owner(root, name)
        owner.register_parameter(leaf, parameter)
    for name, (buffer, is_persistent) in buffers.items():
        owner, leaf = _owner(root, name)
        owner.register_buffer(leaf, buffer, persistent=is_persistent)


def owner_of(root: nn.Module, name: str) -> tuple[dict[str, Any], str]:
    """The dictionary of parameters or buffers that holds a qualified name, and its key there."""
    owner, leaf = _owner(root, name)
    holder = owner._parameters if leaf in owner._parameters else owner._buffers
    return holder, leaf


def _owner(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        child = root._modules[part]
        assert child is not None
        root = child
    return root, leaf
