"""Train and eval mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["in_mode"]


@contextmanager
def in_mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Inside, ``network`` is in train or eval mode; after, each of its modules is as before.

    A module that torch.export made has one mode only and refuses to change it; it is left alone.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.train(training)
    except NotImplementedError:
        yield
        return
    try:
        yield
    finally:
        network.train(modes[0][1])
        for module, mode in modes:
            module.training = mode
