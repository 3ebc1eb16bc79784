"""How far two outputs are apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from supple.errors import TraceError

__all__ = ["output_shapes", "relative_difference"]


def output_shapes(output: Any) -> list[tuple[int, ...]]:
    """The shape of every tensor of an output, in order."""
    return [tuple(leaf.shape) for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def relative_difference(got: Any, want: Any) -> float:
    """The largest difference between two outputs, relative to the scale of the second.

    Raises:
        TraceError: The outputs are built differently.
    """
    if output_shapes(got) != output_shapes(want):
        raise TraceError(
            f"outputs of shapes {output_shapes(got)} and {output_shapes(want)} cannot be compared.",
            hint="compare the same network on the same inputs.",
        )
    worst = 0.0
    leaves = zip(pytree.tree_leaves(got), pytree.tree_leaves(want), strict=True)
    for x, y in leaves:
        if isinstance(y, Tensor):
            worst = max(worst, _gap(x, y))
        elif x is not y and x != y:
            return float("inf")
    return worst


def _gap(x: Tensor, y: Tensor) -> float:
    if torch.equal(x, y) or y.numel() == 0:
        return 0.0
    if not (y.is_floating_point() or y.is_complex()):
        return float("inf")
    both_nan = torch.isnan(x) & torch.isnan(y)
    gap = torch.where(both_nan | (x == y), torch.zeros_like(x), x - y).abs().max().item()
    finite = y[torch.isfinite(y)]
    scale = finite.abs().max().item() if finite.numel() else 1.0
    return gap / max(scale, 1e-30) if gap == gap else float("inf")
