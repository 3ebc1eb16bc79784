"""Random generators derived from one seed and a path of names.

Every random draw of supple comes from a generator that was passed in, and every such generator
comes from here: the seed of the run, then what it is for, then a number. Generators of
different paths are independent, so adding a draw in one place moves no number in another, and
a run that is resumed draws what it would have drawn.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from supple.errors import SuppleError

if TYPE_CHECKING:
    import torch

__all__ = ["derived_seed", "generator", "torch_generator"]


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for what ``path`` names, the same in every process.

    Args:
        seed: Seed of the run, a whole number from 0 up.
        *path: What the generator is for; ``1`` and ``"1"`` are different.

    Example:
        >>> from supple.seeds import generator
        >>> int(generator(0, "search", 3).integers(1000)) == int(
        ...     generator(0, "search", 3).integers(1000)
        ... )
        True
    """
    return np.random.default_rng(_sequence(seed, path))


def derived_seed(seed: int, *path: str | int) -> int:
    """A seed below 2**32 for libraries that take a number instead of a generator."""
    return int(_sequence(seed, path).generate_state(1, np.uint32)[0])


def torch_generator(seed: int, *path: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator for what ``path`` names; torch is loaded by the first call."""
    import torch

    made = torch.Generator(device=device)
    # Torch takes 64 bits but refuses seeds from 2**63 up on some devices.
    made.manual_seed(int(_sequence(seed, path).generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return made


def _sequence(seed: int, path: tuple[str | int, ...]) -> np.random.SeedSequence:
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or seed < 0:
        raise SuppleError(
            f"a seed must be a whole number from 0 up, got {seed!r}.", hint="seed=0.", seed=seed
        )
    # Python's own hash differs between processes; this one does not.
    text = json.dumps([_step(step) for step in path])
    digest = hashlib.sha256(text.encode("ascii")).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.SeedSequence(int(seed), spawn_key=tuple(words))


def _step(step: str | int) -> str | int:
    if isinstance(step, str):
        return step
    if isinstance(step, bool) or not isinstance(step, int | np.integer):
        raise SuppleError(
            f"a path of a generator is made of names and whole numbers, got {step!r}.",
            hint='generator(0, "search", 3).',
        )
    return int(step)
