"""Whether a model's output in training mode tells its gradients, too.

It does where every call is an operator of torch with its own derivative. A detached tensor, a hook
or a function with a ``backward`` of its own may give other gradients to the same output, and a
write in place may forbid them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from supple.trace import Capture
from supple.trace._graph import writes

__all__ = ["GradientStops", "has_plain_gradients"]

_STOPS = frozenset(
    (
        "_set_grad_enabled", "data", "detach", "detach_", "register_hook", "requires_grad_",
        "set_", "set_data",
    )
)  # fmt: skip


class GradientStops(TorchFunctionMode):
    """Inside, notes whether the code of a model stops or replaces a gradient by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.is_any = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        # A function with a backward of its own runs without gradients inside.
        if name in _STOPS or name == "__set__" or not torch.is_grad_enabled():
            self.is_any = True
        return func(*args, **kwargs) if kwargs else func(*args)


def has_plain_gradients(model: nn.Module, output: Any, captures: Sequence[Capture]) -> bool:
    """Neither the graphs, nor the way to an output, nor the parameters have anything of that kind.

    Args:
        model: The model.
        output: What it gave, with the graph of its gradients.
        captures: Its captured graphs.
    """
    if any(p._backward_hooks for p in model.parameters()):
        return False
    if any(_may_stop(node) for one in captures for node in one.calls):
        return False
    leaves = [v for v in pytree.tree_leaves(output) if isinstance(v, Tensor)]
    last_steps = [v.grad_fn for v in leaves if v.grad_fn is not None]
    return bool(last_steps) and not _has_own_backward(last_steps)


def _may_stop(node: torch.fx.Node) -> bool:
    name = str(getattr(getattr(node.target, "_schema", None), "name", ""))
    return bool(writes(node)) or name.startswith("aten::detach")


def _has_own_backward(last_steps: Sequence[Node]) -> bool:
    """Some step back from an output is written in Python."""
    open_steps, seen = list(last_steps), set(last_steps)
    while open_steps:
        step = open_steps.pop()
        if isinstance(step, BackwardCFunction):
            return True
        for other, _ in step.next_functions:
            if other is not None and other not in seen:
                seen.add(other)
                open_steps.append(other)
    return False
