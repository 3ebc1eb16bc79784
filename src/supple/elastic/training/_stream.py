"""The batches of a run, one epoch after another, from any (epoch, batch) on."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from supple.elastic.training._batch import Batch, checked_batch
from supple.elastic.training._seeding import Purpose, seed_for, seed_torch
from supple.errors import DataError

__all__ = ["Loader", "batches_per_epoch", "stream"]

Loader = Iterable[Any]


@runtime_checkable
class _Seekable(Protocol):
    """A loader that can start anywhere, such as ``Batches``."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number`` from batch ``start`` on."""


def batches_per_epoch(loader: Loader) -> int:
    """How many batches a pass over ``loader`` has; one pass is made to count if it has no length.

    Raises:
        DataError: There are none.
    """
    try:
        count = len(loader)  # type: ignore[arg-type]
    except TypeError:
        if iter(loader) is loader:
            raise DataError(
                f"The loader is a {type(loader).__name__}, which can be read only once.",
                why="Training passes over the data again and again.",
                hint="a list, a DataLoader, or supple.elastic.training.Batches",
            ) from None
        count = sum(1 for _ in loader)
    if count == 0:
        raise _empty()
    return count


def stream(
    loader: Loader, seed: int, device: torch.device, *, epoch: int, batch: int
) -> Generator[tuple[int, int, Batch]]:
    """Yield (epoch, batch number, batch) without end, from the given place on.

    A loader without ``epoch(number, start)`` is read from the start of the epoch and the batches
    before the place are passed over. Torch's default generators and the loader's own are seeded
    from ``seed``, so what such a loader draws from them is the same again.
    """
    own = _OwnGenerators(loader)
    try:
        while True:
            count = batch
            own.seed(seed, epoch)
            for item in _epoch(loader, seed, device, epoch, batch):
                yield epoch, count, checked_batch(item)
                count += 1
            if count == 0:
                raise _empty(epoch)
            epoch, batch = epoch + 1, 0
    finally:
        own.restore()


def _epoch(
    loader: Loader, seed: int, device: torch.device, epoch: int, start: int
) -> Iterator[Any]:
    if isinstance(loader, _Seekable):
        yield from loader.epoch(epoch, start=start)
        return
    seed_torch(seed_for(seed, Purpose.ORDER, epoch), device)
    items = iter(loader)
    count = 0
    while True:
        seed_torch(seed_for(seed, Purpose.FETCH, epoch, count), device)
        try:
            item = next(items)
        except StopIteration:
            return
        if count >= start:
            yield item
        count += 1


class _OwnGenerators:
    """The generators a DataLoader and its sampler draw their order from, if they have any.

    They are seeded anew in each epoch, from the seed the user gave them and the run's; at the end
    their state is as before.
    """

    def __init__(self, loader: Loader) -> None:
        holders = (loader, getattr(loader, "sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        unique = {id(g): g for g in found if isinstance(g, torch.Generator)}
        self._before = [(g, g.initial_seed() % 2**63, g.get_state()) for g in unique.values()]

    def seed(self, seed: int, epoch: int) -> None:
        for generator, given, _ in self._before:
            generator.manual_seed(seed_for(seed, Purpose.LOADER, given, epoch))

    def restore(self) -> None:
        for generator, _, state in self._before:
            generator.set_state(state)


def _empty(epoch: int | None = None) -> DataError:
    when = "" if epoch is None else f" in epoch {epoch}"
    return DataError(
        f"The training loader gave no batch{when}.",
        why="Its data set is empty, smaller than a batch with drop_last, or was read before."
        if epoch is None
        else "It gave batches before; a generator, for one, can be read only once.",
        hint="look at len(loader.dataset) and batch_size; "
        "a list, a DataLoader or supple.elastic.training.Batches can be read again and again",
    )
