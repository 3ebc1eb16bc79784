"""Training and evaluation mode: which modules ask for it, and which only flip a flag."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = [
    "asks_for_mode",
    "averaging_modules",
    "averaging_norms",
    "in_mode",
    "switching_modules",
]

_FLAG_ONLY = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)


def asks_for_mode(model: nn.Module) -> bool:
    """Some module reads ``training`` in its own code, other than to pass it on as a flag."""
    return any(_mentions_training(cls) for cls in {type(m) for m in model.modules()})


def _mentions_training(cls: type) -> bool:
    for base in cls.__mro__:
        if base is nn.Module:
            break
        if issubclass(base, _FLAG_ONLY) and base.__module__.startswith("torch.nn"):
            continue
        for value in vars(base).values():
            inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
            code = getattr(inspect.unwrap(inner), "__code__", None) if callable(inner) else None
            if code is not None and _reads_training(code):
                return True
    return False


def _reads_training(code: types.CodeType) -> bool:
    nested = (c for c in code.co_consts if isinstance(c, types.CodeType))  # lambdas, loops
    return "training" in code.co_names or any(map(_reads_training, nested))


def switching_modules(model: nn.Module) -> frozenset[str]:
    """Names of the norms and dropouts that do no more than pass their mode on, while it is on.

    One that stays in evaluation mode when the model trains (a frozen batch norm) is not among
    them, nor one whose ``forward`` is not that of ``torch.nn``.
    """
    with in_mode(model, True):
        return frozenset(
            name
            for name, module in model.named_modules(remove_duplicate=False)
            if isinstance(module, _FLAG_ONLY)
            and type(module).forward.__module__.startswith("torch.nn")
            and module.training
        )


@contextmanager
def in_mode(model: nn.Module, is_training: bool) -> Iterator[None]:
    """Inside, the model is in that mode; afterwards each of its modules is as it was."""
    before = {module: module.training for module in model.modules()}
    model.train(is_training)
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def averaging_modules(model: nn.Module) -> list[tuple[str, nn.modules.batchnorm._BatchNorm]]:
    """Batch norms whose running statistics are plain averages over all batches."""
    return [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.momentum is None
        and module.num_batches_tracked is not None
    ]


@contextmanager
def averaging_norms(model: nn.Module) -> Iterator[None]:
    """Inside, the step of such norms is a constant, for the exporter cannot follow a counter."""
    modules = averaging_modules(model)
    for _, module in modules:
        module.momentum = 0.0
    try:
        yield
    finally:
        for _, module in modules:
            module.momentum = None
