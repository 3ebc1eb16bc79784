"""What a batch is: ``(inputs, targets)``, each a tensor or a tuple, list or dict of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_size, has_batch, tensors_in
from supple.errors import DataError

__all__ = ["Batch", "all_finite", "checked_batch", "split_batch", "to_device"]

Batch = tuple[Any, Any]


def checked_batch(item: Any) -> Batch:
    """``item`` as an (inputs, targets) pair.

    Raises:
        DataError: It is something else.
    """
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item[0], item[1]
    count = f" of {len(item)}" if isinstance(item, (tuple, list, dict)) else ""
    raise DataError(
        f"The loader yields a {type(item).__name__}{count}, expected (inputs, targets).",
        why="Inputs go to the network and targets to the loss, so a batch is a pair of the two.",
        hint="yield (inputs, targets); several inputs go in a tuple or, by name, in a dict",
        found=type(item).__name__,
    )


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into ``parts`` of (almost) equal length along the first dimension.

    What has another first dimension than the inputs (a scalar, a shared mask) goes to every part.
    """
    if parts == 1:
        return [batch]
    length = batch_size(batch[0])

    def piece(part: int) -> Batch:
        def cut(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and has_batch(leaf, length):
                return torch.tensor_split(leaf, parts)[part]
            return leaf

        inputs, targets = pytree.tree_map(cut, tuple(batch))
        return inputs, targets

    return [piece(part) for part in range(parts)]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on ``device``."""
    inputs, targets = pytree.tree_map_only(Tensor, lambda leaf: leaf.to(device), tuple(batch))
    return inputs, targets


def all_finite(batch: Batch) -> bool:
    """Whether no tensor of the batch holds a nan or an infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors_in(batch))
