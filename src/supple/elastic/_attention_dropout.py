"""The dropout inside fused attention, which a graph captured in evaluation does not say.

Elsewhere dropout is a call of its own that stands in either mode's graph with a flag. Fused
attention takes a rate instead, which is 0 in evaluation. So the rates are read off one call of the
model in training, if that calls the same functions as in evaluation; whether the graph then is the
model in training is for the checks to say.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from supple.trace import Capture

__all__ = ["Attentions"]

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_MANY_HEADS = inspect.signature(F.multi_head_attention_forward)


class Attentions:
    """The fused attentions of a model's graphs, and what is seen of them when the model runs.

    Args:
        captures: The graphs, of one size of the input or several, captured in evaluation.
    """

    def __init__(self, captures: Sequence[Capture]) -> None:
        self._calls = [(one, _attentions(one)) for one in captures]
        self._seen: dict[bool, _Seen] = {}

    @contextmanager
    def watching(self, is_training: bool) -> Iterator[None]:
        """Inside, one call of the model in that mode is followed."""
        if not any(nodes for _, nodes in self._calls):
            yield
            return
        is_fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # as when the graph was captured
        seen = self._seen[is_training] = _Seen()
        try:
            with seen:
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(is_fused)

    def take_rates(self) -> bool:
        """Notes in the graphs the rates that were seen; whether that changes them."""
        rates = self._rates()
        if not any(rates) or any(len(nodes) != len(rates) for _, nodes in self._calls):
            return False
        for one, nodes in self._calls:
            one.rates.update((n, rate) for n, rate in zip(nodes, rates, strict=True) if rate)
        return True

    def forget_rates(self) -> None:
        """The graphs are again as they were captured."""
        for one, _ in self._calls:
            one.rates.clear()

    def _rates(self) -> list[float]:
        """In training, one for each attention; nothing where the modes call other functions."""
        if len(self._seen) < 2 or self._seen[True].names != self._seen[False].names:
            return []
        return [] if any(self._seen[False].rates) else self._seen[True].rates


def _attentions(one: Capture) -> list[fx.Node]:
    return [node for node in one.calls if node.target is _ATTENTION]


class _Seen(TorchFunctionMode):
    """Notes which functions of torch are called, and the dropout of the fused attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.rates: list[float] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            self.rates.append(float(given.get("dropout_p", args[4] if len(args) > 4 else 0.0)))
        elif func is F.multi_head_attention_forward:
            self.rates += _rate_of_many_heads(args, given)
        if name not in ("__get__", "add_") or not _is_counter(args):
            self.names.append(name)
        return func(*args, **given)


def _rate_of_many_heads(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[float]:
    """Of the function behind ``nn.MultiheadAttention``, which hides what it calls."""
    call = _MANY_HEADS.bind(*args, **kwargs)
    call.apply_defaults()
    given = call.arguments
    if given["need_weights"]:
        return []
    return [float(given["dropout_p"]) if given["training"] else 0.0]


def _is_counter(args: tuple[Any, ...]) -> bool:
    """It counts batches: only norms in training mode do."""
    value = args[0] if args else None
    return isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point()
