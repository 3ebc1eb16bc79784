"""What the checks of a block need to know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ["BlockCase"]


@dataclass(frozen=True, kw_only=True)
class BlockCase:
    """A block, an example of its input, and what is true of it.

    Attributes:
        make: Builds the block anew, in float32 on the CPU, weights drawn as it draws them.
        example: Inputs of one call: a tensor, a tuple of arguments or a dict of keyword
            arguments, with at least two samples along dimension 0.
        reference: ``(block, *inputs) -> output``: an independent way to compute the output
            (closed form, plain slow version, another library), called in float64.
        tolerance: Largest difference to the reference, relative to its scale.
        wrong_inputs: Inputs the block must refuse with a `BlockError` that holds the shape.
        parameters: The number of parameters by the paper's formula; None checks nothing.
        macs: Multiply-accumulates per sample by the formula; None checks nothing.
        elastic: What of a small network around the block may vary: any of ``"in"`` (what feeds
            it), ``"out"`` (what it feeds), ``"inside"`` (a size of its own), ``"depth"`` and
            ``"kernel"``. Checked to be exactly this; empty for a block that stays whole.
        channel_dim: The dimension of input and output that ``"in"`` and ``"out"`` speak of; -1
            or 1.
        surround: Builds the small network from the block instead of the default (a linear map of
            ``channel_dim``, the block, a linear map). Its parts named ``before`` and ``after``
            are what "in" and "out" are read from.
        batch_sizes: Other batch sizes to run.
        train_mode: Whether gradients and sub-networks are checked in training mode too.
        cannot: Checks that the block cannot pass, by name, each with the reason. They are run,
            and must fail.

    Example:
        >>> import torch
        >>> case = BlockCase(make=lambda: nn.Linear(4, 3), example=torch.randn(5, 4))
        >>> case.batch_sizes
        (1, 3, 7)
    """

    make: Callable[[], nn.Module]
    example: Any = field(repr=False)
    reference: Callable[..., Any] | None = None
    tolerance: float = 1e-10
    wrong_inputs: Sequence[Any] = field(default=(), repr=False)
    parameters: int | None = None
    macs: int | None = None
    elastic: Sequence[str] = ("in", "out")
    channel_dim: int = -1
    surround: Callable[[nn.Module], nn.Module] | None = None
    batch_sizes: Sequence[int] = (1, 3, 7)
    train_mode: bool = True
    cannot: Mapping[str, str] = field(default_factory=dict)
