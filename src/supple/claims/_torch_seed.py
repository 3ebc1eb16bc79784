"""Torch's global generator, seeded for a while: what ``nn.Linear`` and dropout draw from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from supple.seeds import derived_seed

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int, *path: str | int) -> Iterator[None]:
    """Inside, torch's global generator is seeded for what ``path`` names; after, it is as before.

    Arms that shall start from the same weights are built under the same path.

    Example:
        >>> import torch
        >>> from supple.claims import seeded
        >>> with seeded(0, "weights"):
        ...     first = torch.nn.Linear(2, 2)
        >>> with seeded(0, "weights"):
        ...     second = torch.nn.Linear(2, 2)
        >>> torch.equal(first.weight, second.weight)
        True
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "claim", *path))
        yield
