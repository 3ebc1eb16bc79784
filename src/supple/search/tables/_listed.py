"""A space whose configs are the rows of a list, where a table holds only some combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supple.errors import ConfigError, SpaceError
from supple.space import Choice, Config, Option, Space

__all__ = ["ListedSpace"]

Genes = NDArray[np.int64]

# Rows compared with the whole list at once.
CHUNK = 512


class ListedSpace(Space):
    """The choices of a space, but only some combinations of them.

    What a strategy proposes between the rows becomes the nearest row: the number of swaps that
    differ, plus for each number how far apart the two are, as a fraction of its range. It is not
    written as JSON: stored, it is the plain space of its choices.

    Args:
        choices: The choice behind each name, without conditions.
        rows: The genes of the configs there are, shape (N, number of choices).

    Example:
        >>> from supple.search.tables import ListedSpace
        >>> from supple.space import Width
        >>> choices = {"a": Width(options=(1, 2, 3)), "b": Width(options=(1, 2, 3))}
        >>> space = ListedSpace(choices, [(0, 0), (1, 2), (2, 2)])
        >>> space.size, space.from_indices((2, 1))
        (3, Config({'a': 3, 'b': 3}))
    """

    def __init__(self, choices: Mapping[str, Choice], rows: ArrayLike) -> None:
        super().__init__(choices)
        table = np.asarray(rows, dtype=np.int64)
        if table.ndim != 2 or table.shape[1:] != (len(self),) or not len(table):
            raise SpaceError(
                f"a list of configs of {len(self)} choices has the shape {table.shape}.",
                hint="give one row of genes per config, at least one.",
            )
        self._rows: Genes = np.unique(table, axis=0)
        self._place = {row.tobytes(): index for index, row in enumerate(self._rows)}
        # Sums of binary codes: a number of n options has n - 1 steps of weight 1 / (n - 1).
        self._codes = self._coded(self._rows)
        self._sums = (self._codes**2).sum(axis=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return ListedSpace, (dict(self), self._rows)

    def _coded(self, rows: Genes) -> NDArray[np.float32]:
        """Codes whose squared distance is the distance between configs."""
        columns = []
        for gene, choice in zip(rows.T, self.values(), strict=True):
            count = len(choice.options)
            if choice.is_number:
                steps = gene[:, None] > np.arange(count - 1)[None, :]
                columns.append(steps * np.float32(max(count - 1, 1) ** -0.5))
            else:
                columns.append((gene[:, None] == np.arange(count)) * np.float32(0.5**0.5))
        return np.hstack([column.astype(np.float32) for column in columns])

    @property
    def size(self) -> int:
        """The number of listed configs."""
        return len(self._rows)

    @property
    def is_size_exact(self) -> bool:
        """Always: the configs are listed."""
        return True

    @property
    def largest(self) -> Config:
        """The listed config nearest to the largest of the choices."""
        return self.from_indices([choice.largest_index for choice in self.values()])

    @property
    def smallest(self) -> Config:
        """The listed config nearest to the smallest of the choices."""
        return self.from_indices(np.zeros(len(self), dtype=np.int64))

    def canonical_indices(self, genes: ArrayLike) -> Genes:
        """Each row, if it is listed, else the nearest that is."""
        rows = np.atleast_2d(super().canonical_indices(genes))
        missing = np.flatnonzero([row.tobytes() not in self._place for row in rows])
        found = rows.copy()
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            near = self._sums[None, :] - 2.0 * self._coded(rows[part]) @ self._codes.T
            found[part] = self._rows[near.argmin(axis=1)]
        return found

    def validate(self, config: Mapping[str, Option]) -> Config:
        """The config, if it is listed."""
        found = super().validate(config)
        if self.to_indices(found).tobytes() not in self._place:
            raise ConfigError(
                "this config is not one of those that the table lists.",
                hint="space.from_indices gives the nearest one that is.",
            )
        return found

    def configs(self) -> Iterator[Config]:
        """The listed configs."""
        return iter([self._as_config(row) for row in self._rows])

    def rows(self) -> Genes:
        """The genes of all listed configs."""
        return self._rows.copy()

    def sample(self, seed: int | None = None, *, rng: np.random.Generator | None = None) -> Config:
        """A listed config, all equally likely."""
        generator = np.random.default_rng(seed) if rng is None else rng
        return self._as_config(self._rows[generator.integers(len(self._rows))])

    def sample_many(self, n: int, rng: np.random.Generator, *, unique: bool = True) -> list[Config]:
        """``n`` listed configs; fewer only if ``unique`` and there are fewer."""
        count = len(self._rows)
        picked = rng.permutation(count)[:n] if unique else rng.integers(0, count, size=n)
        return [self._as_config(row) for row in self._rows[picked]]

    def nearest(self, config: Mapping[str, Option]) -> Config:
        """The listed config nearest to a mapping."""
        return self.from_indices(self.to_indices(super().nearest(config)))

    def at_ratio(self, ratio: float) -> Config:
        """The listed config nearest to the one at this ratio."""
        return self.from_indices(self.to_indices(super().at_ratio(ratio)))

    def neighbours(self, config: Mapping[str, Option]) -> Iterator[Config]:
        """The listed configs that differ in one choice; the nearest ones if none does."""
        row = self.to_indices(config)
        differ = np.count_nonzero(self._rows != row, axis=1)
        least = differ[differ > 0].min(initial=len(self) + 1)
        yield from (self._as_config(near) for near in self._rows[differ == least])

    def mutate(
        self,
        config: Mapping[str, Option],
        rng: np.random.Generator,
        probability: float | None = None,
    ) -> Config:
        """A listed config near to the one that a mutation gave."""
        row = self.to_indices(config)
        near = list(self.neighbours(config))
        mutated = self.to_indices(super().mutate(config, rng, probability))
        found = self.canonical_indices(mutated[None])[0]
        if not np.array_equal(found, row) or not near:
            return self._as_config(found)
        return near[int(rng.integers(len(near)))]

    def cross(
        self,
        first: Mapping[str, Option],
        second: Mapping[str, Option],
        rng: np.random.Generator,
    ) -> Config:
        """The listed config nearest to a child of two."""
        return self.from_indices(self.to_indices(super().cross(first, second, rng)))
