"""What blocks check about their settings and inputs, and the errors they raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from supple.errors import BlockError, near_misses

__all__ = [
    "check_channels",
    "check_divides",
    "check_features",
    "check_option",
    "check_positive",
    "check_rank",
    "wrong_features",
]


def check_positive(module: nn.Module, **settings: float) -> None:
    """Every setting is above zero.

    Raises:
        BlockError: One is not.
    """
    for name, value in settings.items():
        if not value > 0:
            raise BlockError(
                f"{type(module).__name__} got {name}={value!r}.",
                why="It has to be above zero.",
                hint=f"pass a larger {name}.",
                **{name: value},
            )


def check_divides(module: nn.Module, what: str, whole: int, of: str, part: int) -> None:
    """``part`` divides ``whole``.

    Raises:
        BlockError: It does not.
    """
    if whole % part:
        raise BlockError(
            f"{type(module).__name__} got {what} = {whole} and {of} = {part}.",
            why=f"{whole} is not a multiple of {part}.",
            hint=f"use {whole - whole % part or part} or {whole - whole % part + part}"
            f" instead of {whole}.",
            whole=whole,
            part=part,
        )


def check_option(module: nn.Module, name: str, value: str, options: Sequence[str]) -> None:
    """``value`` is one of the options.

    Raises:
        BlockError: It is not.
    """
    if value not in options:
        raise BlockError(
            f"{type(module).__name__} has no {name} {value!r}.",
            why=f"It has {', '.join(map(repr, options))}.",
            hint=near_misses(str(value), options),
            **{name: value},
        )


def check_rank(
    module: nn.Module, x: Tensor, *, exactly: int | None = None, at_least: int | None = None
) -> None:
    """The input has so many dimensions.

    Raises:
        BlockError: It has another number.
    """
    is_wrong = x.dim() != exactly if exactly is not None else x.dim() < (at_least or 0)
    if is_wrong:
        wanted = f"{exactly}" if exactly is not None else f"at least {at_least}"
        raise BlockError(
            f"{type(module).__name__} got an input of shape {tuple(x.shape)}.",
            why=f"It takes inputs of {wanted} dimensions.",
            hint="add the missing dimensions, for the batch for instance, with x.unsqueeze(0).",
            shape=tuple(x.shape),
        )


def check_channels(module: nn.Module, x: Tensor, channels: int) -> None:
    """The input has that many channels in dimension 1.

    Raises:
        BlockError: It has not.
    """
    check_rank(module, x, at_least=2)
    if x.shape[1] != channels:
        raise wrong_features(module, x, channels, 1)


def check_features(module: nn.Module, x: Tensor, features: int) -> None:
    """The input has that many features in its last dimension.

    Raises:
        BlockError: It has not.
    """
    check_rank(module, x, at_least=1)
    if x.shape[-1] != features:
        raise wrong_features(module, x, features, x.dim() - 1)


def wrong_features(module: nn.Module, x: Tensor, features: int, dim: int) -> BlockError:
    """The error for an input of the wrong size in one dimension."""
    facts: dict[str, Any] = {"shape": tuple(x.shape), "features": features, "dim": dim}
    return BlockError(
        f"{type(module).__name__} got an input of shape {tuple(x.shape)}.",
        why=f"It was made for {features} in dimension {dim}, not {x.shape[dim]}.",
        hint="check the layer before, or build the block for the size that comes in.",
        **facts,
    )
