"""How far the outputs of a file read back are from the network's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["Difference", "largest_difference"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference between two outputs.

    Attributes:
        size: Largest absolute difference, divided by the output's largest magnitude where that
            is above 1; infinite where the outputs cannot be compared or NaNs differ.
        where: Which output and element, with both values, as a phrase.
    """

    size: float
    where: str


def largest_difference(found: Any, expected: Any) -> Difference:
    """Compares all tensors of two outputs in order."""
    found_leaves, expected_leaves = _tensors(found), _tensors(expected)
    if len(found_leaves) != len(expected_leaves):
        where = f"it gives {len(found_leaves)} tensors, the network {len(expected_leaves)}"
        return Difference(size=float("inf"), where=where)
    differences = [
        _of_tensors(name, ours, theirs)
        for (_, ours), (name, theirs) in zip(found_leaves, expected_leaves, strict=True)
    ]
    none = Difference(size=0.0, where="there is no output")
    return max(differences, key=lambda difference: difference.size, default=none)


def _tensors(tree: Any) -> list[tuple[str, Tensor]]:
    return [
        (f"output{pytree.keystr(path)}", leaf)
        for path, leaf in pytree.tree_leaves_with_path(tree)
        if isinstance(leaf, Tensor)
    ]


def _of_tensors(name: str, found: Tensor, expected: Tensor) -> Difference:
    if found.shape != expected.shape:
        shapes = f"{name} has shape {tuple(found.shape)}, the network's {tuple(expected.shape)}"
        return Difference(size=float("inf"), where=shapes)
    if not expected.numel():
        return Difference(size=0.0, where=name)
    ours, theirs = _comparable(found), _comparable(expected)
    gap = (ours - theirs).abs()
    # Equal infinities leave NaN, as do two NaNs: neither is a difference.
    gap[(ours == theirs) | (ours.isnan() & theirs.isnan())] = 0.0
    gap.nan_to_num_(nan=float("inf"))
    finite = theirs[theirs.isfinite()].abs()
    scale = max(1.0, finite.max().item() if finite.numel() else 1.0)
    index = torch.unravel_index(gap.argmax(), gap.shape)
    place = ", ".join(str(int(i)) for i in index)
    values = f"{ours[index].item():.6g} against {theirs[index].item():.6g}"
    return Difference(size=gap.max().item() / scale, where=f"{name} at [{place}]: {values}")


def _comparable(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return torch.view_as_real(tensor).double() if tensor.is_complex() else tensor.double()
