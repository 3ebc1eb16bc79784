"""Drawing the weights of modules that a block was given anew."""

from __future__ import annotations

from torch import nn

__all__ = ["reset"]


def reset(module: nn.Module) -> None:
    """Calls ``reset_parameters`` of every part of a module that has it, the outermost alone."""
    own = getattr(module, "reset_parameters", None)
    if callable(own):
        own()
        return
    for part in module.children():
        reset(part)
