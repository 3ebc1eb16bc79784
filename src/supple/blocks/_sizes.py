"""What blocks say when sizes do not fit: at construction and in a call."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from supple.errors import BlockError, near_misses

__all__ = ["check_channels", "check_features", "check_known", "check_positive"]


def check_positive(block: str, **sizes: int) -> None:
    """Every size is a whole number from 1 up.

    Raises:
        BlockError: One is not; it is named.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise BlockError(
                f"{block} got {name}={size!r}.",
                why="Sizes are whole numbers from 1 up.",
                hint=f"{name}=1 or more.",
                name=name,
            )


def check_known(block: str, name: str, value: str, known: Mapping[str, object]) -> None:
    """A setting given by name is one that exists.

    Raises:
        BlockError: It is not; near misses are named.
    """
    if value not in known:
        raise BlockError(
            f"{block} got {name}={value!r}.",
            why="There is nothing of this name.",
            hint=near_misses(str(value), known),
            name=name,
        )


def check_features(block: str, x: Tensor, features: int, *, least_dims: int = 1) -> None:
    """The last dimension of an input has the size the block was built for.

    Raises:
        BlockError: It has another, or there are too few dimensions.
    """
    if x.dim() < least_dims or x.shape[-1] != features:
        raise BlockError(
            f"{block} takes inputs of shape (…, {features}), got {tuple(x.shape)}.",
            why=f"It was built with {features} input features.",
            hint=f"give the last dimension {features} features, or build the block with others.",
            shape=tuple(x.shape),
        )


def check_channels(block: str, x: Tensor, channels: int, spatial_dims: int) -> None:
    """An input is (batch, channels, …) with as many spatial dimensions as the block has.

    Raises:
        BlockError: It is not.
    """
    if x.dim() != spatial_dims + 2 or x.shape[1] != channels:
        places = ", …" * spatial_dims
        raise BlockError(
            f"{block} takes inputs of shape (batch, {channels}{places}), got {tuple(x.shape)}.",
            why=f"It was built with {channels} channels and {spatial_dims} spatial dimensions.",
            hint="put the channels in dimension 1, and keep the batch dimension.",
            shape=tuple(x.shape),
        )
