"""A small deterministic loader over tensors in memory, which can start at any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supple.elastic.training._batch import Batch
from supple.elastic.training._seeding import Purpose, check_seed, generator, seed_for
from supple.errors import DataError

__all__ = ["Batches"]

Augment = Callable[[Any, torch.Generator], Any]


class Batches:
    """Batches of tensors in memory, the same for the same seed, epoch and batch number.

    Iterating gives the batches of epoch 0. Training loops ask for ``epoch(number)``: each epoch
    has an order and augmentations of its own, which follow from the seed alone, so a resumed run
    goes on in the middle of an epoch without reading what came before.

    Args:
        inputs: A tensor, or a tuple or mapping of tensors, with the examples along dimension 0.
        targets: The same for the targets.
        batch_size: Examples in a batch; the last one of an epoch may have fewer.
        seed: Where order and augmentation follow from.
        shuffle: Whether an epoch has a random order.
        augment: ``augment(inputs, generator)`` to new inputs, on each batch.
        prepare: ``prepare(inputs)`` to new inputs, after ``augment``: what is cheaper to do to a
            batch than to keep in memory, such as bytes to normalised floats.
        drop_last: Whether to leave out a last batch that is not full.

    Example:
        >>> import torch
        >>> from supple.elastic.training import Batches
        >>> data = Batches(torch.arange(5.0), torch.arange(5), batch_size=2, shuffle=False)
        >>> [targets.tolist() for _, targets in data]
        [[0, 1], [2, 3], [4]]
        >>> len(data)
        3
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        augment: Augment | None = None,
        prepare: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
    ) -> None:
        check_seed(seed)
        self.inputs = inputs
        self.targets = targets
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augment = augment
        self.prepare = prepare
        self.drop_last = drop_last
        self.examples = _common_length(inputs, targets)
        if batch_size < 1:
            raise DataError(f"The batch size is {batch_size}.", hint="1 or more")
        if self.examples == 0:
            raise DataError("A data set has no examples.", hint="look at where it was read or cut")

    def __len__(self) -> int:
        full, rest = divmod(self.examples, self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number``, from batch ``start`` on."""
        order = self._order(number)
        for index in range(start, len(self)):
            rows = order[index * self.batch_size : (index + 1) * self.batch_size]
            inputs = _pick(self.inputs, rows)
            if self.augment is not None:
                draws = torch.Generator()
                draws.manual_seed(seed_for(self.seed, Purpose.AUGMENT, number, index))
                inputs = self.augment(inputs, draws)
            if self.prepare is not None:
                inputs = self.prepare(inputs)
            yield inputs, _pick(self.targets, rows)

    def _order(self, number: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.examples)
        order = generator(self.seed, Purpose.ORDER, number).permutation(self.examples)
        return torch.from_numpy(order.astype(np.int64))


def _pick(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Mapping):
        return {key: _pick(item, rows) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_pick(item, rows) for item in value)
    return value[rows.to(value.device)]


def _common_length(inputs: Any, targets: Any) -> int:
    lengths = {tensor.shape[0] for tensor in (*_leaves(inputs), *_leaves(targets))}
    if len(lengths) != 1:
        raise DataError(
            f"Inputs and targets have different numbers of examples: {sorted(lengths)}.",
            hint="tensors whose first dimension is the same",
        )
    return int(lengths.pop())


def _leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
