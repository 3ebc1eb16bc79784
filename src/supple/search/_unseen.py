"""Configs that were not measured yet: at random, near a given one, or the last ones there are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from supple.space import Space

__all__ = ["Seen", "fresh_rows", "nearest_unseen", "random_unseen", "unseen_from"]

Genes = NDArray[np.int64]
Seen = Collection[bytes]

# Draws, such as generations of children, tried for enough unseen rows.
DRAWS = 10
# Random draws before the space is walked through for what is left.
ROUNDS = 20
# Configs looked at in one walk: a tenth of a million takes some seconds.
LONGEST_WALK = 200_000


def fresh_rows(rows: Genes, seen: Seen) -> Genes:
    """The rows that were not seen, each once, in order."""
    known, kept = set(seen), []
    for index, row in enumerate(rows):
        key = row.tobytes()
        if key not in known:
            known.add(key)
            kept.append(index)
    return rows[kept]


def unseen_from(draw: Callable[[], Genes], seen: Seen, count: int) -> Genes:
    """Rows that were not seen, from as many draws as it takes.

    Fewer than ``count`` if ``DRAWS`` are not enough; more if the last one has more.
    """
    found = fresh_rows(draw(), seen)
    for _ in range(DRAWS - 1):
        if len(found) >= count:
            break
        found = fresh_rows(np.vstack([found, draw()]), seen)
    return found


def random_unseen(space: Space, count: int, seen: Seen, rng: np.random.Generator) -> Genes:
    """``count`` random rows that were not seen; fewer only if the space has no more."""
    found = np.empty((0, len(space)), dtype=np.int64)
    known = set(seen)
    if space.is_size_exact and len(known) >= space.size:
        return found
    for _ in range(ROUNDS):
        wanted = count - len(found)
        if wanted <= 0:
            return found
        drawn = space.to_indices_many(space.sample_many(2 * wanted + 8, rng, unique=False))
        new = fresh_rows(drawn, known)[:wanted]
        known.update(row.tobytes() for row in new)
        found = np.vstack([found, new])
    left = _walk(space, known)
    chosen = left[rng.permutation(len(left))[: count - len(found)]]
    return np.vstack([found, chosen])


def _walk(space: Space, known: Seen) -> Genes:
    """What a walk through the space finds that is not known."""
    walk = islice(space.configs(), LONGEST_WALK)
    rows = [row for row in map(space.to_indices, walk) if row.tobytes() not in known]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(space))


def nearest_unseen(space: Space, row: Genes, seen: Seen, rng: np.random.Generator) -> Genes | None:
    """A row not seen that differs from ``row`` in few genes; None if the space has no more."""
    top = np.array([len(choice.options) for choice in space.values()])
    for changes in range(1, min(len(space), 8) + 1):
        moved = np.repeat(row[None], 64, axis=0)
        columns = rng.integers(0, len(space), size=(64, changes))
        moved[np.arange(64)[:, None], columns] = rng.integers(0, top[columns])
        new = fresh_rows(space.canonical_indices(moved), seen)
        if len(new):
            nearest: Genes = new[np.argmin(np.count_nonzero(new != row, axis=1))]
            return nearest
    drawn = random_unseen(space, 1, seen, rng)
    return drawn[0] if len(drawn) else None
