"""Multiply-accumulate operations of one forward pass, counted where they happen.

Every call that reaches an operator which multiplies and sums (convolution, matrix product,
attention, recurrent layer) is counted from its shapes, so whatever Python the network runs, the
count is exact. Element-wise operations, normalisation, pooling and biases count nothing. One MAC
is two floating-point operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from supple.elastic._call import Network, batch_size
from supple.measure._counting import run_under
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["MACs"]

aten = torch.ops.aten

Rule = Callable[[tuple[Any, ...], Any], int]
"""``(arguments, output)`` of one call -> its MACs."""


@dataclass(frozen=True, kw_only=True)
class MACs(Measure):
    """Multiply-accumulates per sample, exact.

    ``details`` holds ``total`` for the whole batch, ``batch``, and ``operators``: the total by
    operator name.

    Attributes:
        example: Inputs to run on: a tensor, a tuple of arguments or a dict of keyword arguments.
        fake: Count on fake tensors, which have shapes and no values: nothing is computed, which
            pays for large networks only (about 0.2 s for a hundred layers, whatever their
            size). A network that looks at values cannot run on them.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: Fewer are better.

    Example:
        >>> layer = torch.nn.Linear(4, 3)
        >>> MACs(example=torch.ones(2, 4)).measure(layer).value
        12.0
    """

    example: Any = field(repr=False, compare=False)
    fake: bool = False
    name: str = "macs"
    unit: str = "MAC"
    direction: Direction = "min"

    def measure(self, network: Network) -> Measurement:
        """Runs the example once and divides the count by its batch size."""
        counter = _Counter()
        if self.fake:
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                shapes = pytree.tree_map_only(Tensor, mode.from_tensor, self.example)
                run_under(counter, network, shapes)
        else:
            run_under(counter, network, self.example)
        total, batch = sum(counter.macs.values()), batch_size(self.example)
        return Measurement.exact(
            total / max(batch, 1), self.unit, total=total, batch=batch, operators=counter.macs
        )


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the MACs of the operators in the table, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = getattr(func, "overloadpacket", func)
        rule = _RULES.get(packet)
        if rule is not None:
            name = packet.__name__
            self.macs[name] = self.macs.get(name, 0) + rule(args, output)
        return output


def _product(left: Tensor, right: Tensor) -> int:
    """(…, n, k) with (…, k, m), (k,) or (k, m): every element of left meets m columns."""
    columns = right.shape[-1] if right.dim() > 1 else 1
    return left.numel() * int(columns)


def _convolution(args: tuple[Any, ...], output: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    # Each position (of the input when transposed) meets every weight of the kernel once.
    places = (x if transposed else output).shape
    return prod((places[0], *places[2:], *weight.shape))


def _attention(args: tuple[Any, ...], output: Any) -> int:
    query, key, value = args[:3]
    *batch, queries, size = query.shape
    return prod((*batch, queries, key.shape[-2], size + value.shape[-1]))


def _recurrent(args: tuple[Any, ...], output: Any) -> int:
    """A whole layer in one operator: both weight matrices are met once per sample and step."""
    x, from_input, from_state = args[:3]
    per_step: int = from_input.numel() + from_state.numel()
    return per_step * int(x.shape[0] * x.shape[1])


def _trilinear(args: tuple[Any, ...], output: Any) -> int:
    """Bilinear layer: x1 with the weight, and what comes out with x2; broadcast dims given."""
    tensors, expanded = args[:3], args[3:6]
    rank = tensors[0].dim() + len(expanded[0])
    shapes = []
    for tensor, added in zip(tensors, expanded, strict=True):
        sizes = iter(tensor.shape)
        shapes.append([1 if dim in added else next(sizes) for dim in range(rank)])
    whole = [max(sizes) for sizes in zip(*shapes, strict=True)]
    first_summed = int(whole[args[6][0]])
    products: int = prod(whole)
    return products + products // first_summed


def _distances(args: tuple[Any, ...], output: Tensor) -> int:
    return output.numel() * int(args[0].shape[-1])


_RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        (aten.mm, aten.bmm, aten.mv, aten.dot, aten.vdot, aten._int_mm, aten._scaled_mm),
        lambda args, output: _product(args[0], args[1]),
    ),
    **dict.fromkeys(
        (aten.addmm, aten.baddbmm, aten.addmv, aten.addbmm, aten._addmm_activation),
        lambda args, output: _product(args[1], args[2]),
    ),
    # linear reaches the dispatcher whole in inference mode; its weight is (out, in).
    aten.linear: lambda args, output: args[0].numel() * int(args[1].shape[0]),
    **dict.fromkeys((aten.convolution, aten._convolution), _convolution),
    **dict.fromkeys(
        (
            aten._scaled_dot_product_flash_attention,
            aten._scaled_dot_product_flash_attention_for_cpu,
            aten._scaled_dot_product_efficient_attention,
            aten._scaled_dot_product_cudnn_attention,
            aten._scaled_dot_product_fused_attention_overrideable,
            aten.scaled_dot_product_attention,
        ),
        _attention,
    ),
    aten.mkldnn_rnn_layer: _recurrent,
    aten._trilinear: _trilinear,
    **dict.fromkeys((aten._euclidean_dist, aten._cdist_forward), _distances),
}
