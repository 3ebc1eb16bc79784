"""The size of the input as a choice: images of a smaller side, sequences of fewer tokens.

A sub-network takes what the model takes and makes it smaller itself, so that what is measured and
exported holds that too. Each size has a captured graph of its own over the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.trace import Example, split_example

__all__ = ["Resizing", "plain_attributes", "resize_example", "unchanged_attributes"]


@dataclass(frozen=True)
class Resizing:
    """Which inputs of a network may be smaller, and how.

    Images are resized by bilinear interpolation (without the low-pass filter, which ONNX has no
    operator for); of sequences the first tokens are kept.

    Attributes:
        name: Name of the choice: ``"input.resolution"`` or ``"input.length"``.
        sides: For each input that is resized its position among the leaves, and its full size.
    """

    name: str
    sides: tuple[tuple[int, tuple[int, ...]], ...]

    @classmethod
    def of(cls, leaves: Sequence[Any]) -> Resizing | None:
        """Of the images of an example, or else of its sequences of tokens; None without either."""
        tensors = [(i, v) for i, v in enumerate(leaves) if isinstance(v, Tensor)]
        images = [(i, v) for i, v in tensors if v.ndim in (4, 5) and v.is_floating_point()]
        if images:
            side = images[0][1].shape[-2:]
            same = (i for i, v in images if v.shape[-2:] == side)
            return cls("input.resolution", tuple((i, tuple(side)) for i in same))
        tokens = [v for _, v in tensors if v.ndim == 2 and not v.is_floating_point()]
        if not tokens:
            return None
        shape = tokens[0].shape
        return cls("input.length", tuple((i, (shape[1],)) for i, v in tensors if v.shape == shape))

    @property
    def size(self) -> int:
        """The full side or length."""
        return self.sides[0][1][0]

    def options(self, ratios: Sequence[float]) -> tuple[int, ...]:
        """The sizes to offer, the full one last."""
        smaller = {max(1, round(self.size * ratio)) for ratio in ratios}
        return (*sorted(n for n in smaller if n < self.size), self.size)

    def calls(self, size: int) -> list[tuple[int, Callable[..., Any], tuple[Any, ...]]]:
        """For each input its position, and the function and further arguments that resize it."""
        found: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = []
        for position, full in self.sides:
            if len(full) == 1:
                found.append((position, torch.narrow, (1, 0, size)))
            else:
                sides = tuple(max(1, round(n * size / full[0])) for n in full)
                found.append((position, _interpolate, (sides,)))
        return found

    def apply(self, leaves: Sequence[Any], size: int) -> list[Any]:
        """The leaves with their inputs resized."""
        resized = list(leaves)
        for position, function, arguments in self.calls(size):
            resized[position] = function(resized[position], *arguments)
        return resized


def _interpolate(x: Tensor, sides: tuple[int, int]) -> Tensor:
    """Images (…, C, H, W) with other sides."""
    flat = x.flatten(0, -4) if x.ndim > 4 else x
    small = F.interpolate(flat, size=sides, mode="bilinear", align_corners=False)
    return small.reshape(*x.shape[:-2], *sides) if x.ndim > 4 else small


def resize_example(example: Example, resizing: Resizing, size: int) -> Example:
    """The example with smaller inputs."""
    leaves, spec = pytree.tree_flatten(split_example(example))
    with torch.no_grad():
        parts = pytree.tree_unflatten(resizing.apply(leaves, size), spec)
    smaller: Example = parts[1] or parts[0]
    return smaller


@contextmanager
def unchanged_attributes(model: nn.Module) -> Iterator[None]:
    """Afterwards the plain attributes of every module are what they were.

    A model may note the size of its last input and go on with that (Swin narrows its windows).
    """
    before = plain_attributes(model)
    try:
        yield
    finally:
        for module, attributes in before.items():
            vars(module).update(attributes)


def plain_attributes(model: nn.Module) -> dict[nn.Module, dict[str, Any]]:
    """Of every module the attributes that are numbers, names or tuples."""
    plain = (bool, int, float, str, tuple, type(None))
    return {
        module: {k: v for k, v in vars(module).items() if isinstance(v, plain)}
        for module in model.modules()
    }
