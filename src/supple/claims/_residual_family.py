"""What claims about joined networks share: residual networks on digits and their training."""

from __future__ import annotations

from typing import Any

from supple.claims._data import Data
from supple.claims._residual_mlp import ResidualMLP
from supple.compress.join import Stack
from supple.elastic.training import Batches, Recipe

__all__ = ["batches", "model", "recipe", "stack_of"]


def model(width: int, depth: int) -> ResidualMLP:
    """A residual network for the digits; its blocks are twice as wide inside."""
    return ResidualMLP(in_features=64, classes=10, width=width, hidden=2 * width, depth=depth)


def stack_of(depth: int) -> Stack:
    """Where the blocks of `model` are, which `find_stack` finds too."""
    return Stack(container="blocks", blocks=tuple(f"blocks.{i}" for i in range(depth)))


def batches(data: Data, seed: int) -> Batches:
    """The training part in batches of 64."""
    return Batches(data.train_x, data.train_y, batch_size=64, seed=seed)


def recipe(epochs: float, lr: float, **settings: Any) -> Recipe:
    """AdamW for so many passes."""
    return Recipe(epochs=epochs, lr=lr, optimizer="adamw", **settings)
