"""Sizes as plain numbers, also those that only the data decide.

How many elements ``nonzero`` finds is known at run time only. The exporter calls such a size
``u0``; here it is stood in for by a number no real size reaches, so that the algebra of axes works
on numbers alone. An axis with such a size is never cut, and the graph keeps its own expression.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

__all__ = ["is_unknown", "plain_shape", "plain_shapes", "plain_size"]

_BEYOND = 2**40  # larger than any real dimension
_DIVIDES = 2**10 * 3**4 * 5**2 * 7 * 11 * 13


def plain_size(size: Any) -> int:
    """A size as a number: its own, or one that stands for what the data decide."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    symbols = sorted(expression.free_symbols, key=str)
    hints = size.node.shape_env.backed_var_to_val
    values = {s: int(hints[s]) if s in hints else _stand_in(str(s)) for s in symbols}
    return int(expression.subs(values))


def _stand_in(symbol: str) -> int:
    number = int("".join(c for c in symbol if c.isdigit()) or 0)
    # A view may divide it; two that are not the same have nothing to do with each other.
    return _DIVIDES * (_BEYOND + 15 + 2 * number * 3_000_017)  # 2**40 + 15 is a prime


def is_unknown(size: int) -> bool:
    """The number stands for a size that the data decide."""
    return size >= _BEYOND


def plain_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of a tensor in plain numbers."""
    return tuple(map(plain_size, tensor.shape))


def plain_shapes(value: Any) -> list[tuple[int, ...]]:
    """The shapes of all tensors of an operator's output."""
    return [plain_shape(v) for v in pytree.tree_leaves(value) if isinstance(v, torch.Tensor)]
