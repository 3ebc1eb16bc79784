"""A residual network of linear layers, elastic in depth and in every width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ResidualMLP"]


class ResidualMLP(nn.Module):
    """A stem, residual blocks of two linear layers behind a layer norm, and a classifier.

    Args:
        in_features: Numbers per example.
        classes: Outputs.
        width: Width of the shortcut.
        hidden: Width inside of each block; one number, or one per block.
        depth: Blocks.

    ``sized`` makes the one that a config of its elastic network describes.

    Example:
        >>> import torch
        >>> ResidualMLP(in_features=64, classes=10, width=8, hidden=16, depth=2)(
        ...     torch.zeros(3, 64)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        *,
        in_features: int,
        classes: int,
        width: int,
        hidden: int | tuple[int, ...],
        depth: int,
    ) -> None:
        super().__init__()
        sizes = (hidden,) * depth if isinstance(hidden, int) else hidden[:depth]
        self.stem = nn.Linear(in_features, width)
        self.blocks = nn.Sequential(*(_Block(width, size) for size in sizes))
        self.head = nn.Linear(width, classes)

    @classmethod
    def sized(cls, config: Mapping[str, Any], *, in_features: int, classes: int) -> ResidualMLP:
        """A network of the sizes of ``config``, with first weights of its own."""
        depth = int(config["blocks.depth"])
        return cls(
            in_features=in_features,
            classes=classes,
            width=int(config["stem.width"]),
            hidden=tuple(int(config[f"blocks.{block}.up.width"]) for block in range(depth)),
            depth=depth,
        )

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes."""
        scores: Tensor = self.head(self.blocks(self.stem(x)))
        return scores


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + change
