"""Random draws of a training run: all follow from its seed and the place in the run.

Nothing is carried over from step to step, so a run that is resumed at step 1000 draws what the
uninterrupted run drew there, and no generator's state needs to be stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch

from supple.errors import TrainingError

__all__ = ["Purpose", "check_seed", "forked_torch_rng", "generator", "seed_for", "seed_torch"]


class Purpose(IntEnum):
    """What draws are for; draws for different purposes are independent."""

    ORDER = 0
    FETCH = 1
    STEP = 2
    RULE = 3
    AUGMENT = 4
    LOADER = 5


def check_seed(seed: int) -> None:
    """Refuse what is not a non-negative integer."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise TrainingError(f"The seed is {seed!r}.", hint="a whole number of 0 or more")


def seed_for(seed: int, purpose: Purpose, *place: int) -> int:
    """A 63-bit seed for one purpose at one place (epoch, batch or step) of the run."""
    state = np.random.SeedSequence([seed, purpose, *place]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, purpose: Purpose, *place: int) -> np.random.Generator:
    """A NumPy generator for one purpose at one place of the run."""
    return np.random.default_rng([seed, purpose, *place])


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's default generators for the processor and for ``device``."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def forked_torch_rng(device: torch.device) -> Iterator[None]:
    """Inside, torch's default generators may be seeded; after, they are as before."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
