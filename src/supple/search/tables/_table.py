"""What a comparison of strategies needs to know of a task whose results are recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from supple.errors import SearchError, near_misses
from supple.space import Config, Option, Space
from supple.study import Directions, hypervolume
from supple.study.direction import losses

__all__ = ["COUNTED", "RecordedTable"]

# Objectives of these names follow from the config by counting; nothing has to be measured.
COUNTED = frozenset({"macs", "flops", "params", "parameters"})
# Spaces up to this size are looked through for their best hypervolume if nobody says what it is.
LARGEST_WALK = 50_000


@dataclass(frozen=True, kw_only=True)
class RecordedTable:
    """A space and what each of its configs measures.

    Args:
        space: The configs.
        directions: ``"min"`` or ``"max"`` for each objective.
        evaluate: The values of a config, by objective.
        reference: The worst corner for the hypervolume, as values.
        best_hypervolume: That of the true front, if it is known.
        exact: Objectives that are counted rather than measured, so that a strategy may ask for
            them beforehand.
        source: What ``load_table`` read, so that another process can read it too.

    Example:
        >>> from supple.search.tables import RecordedTable
        >>> from supple.space import Space, Width
        >>> table = RecordedTable(
        ...     space=Space({"a": Width(options=(1, 2, 4))}),
        ...     directions={"loss": "min", "macs": "min"},
        ...     evaluate=lambda config: {"loss": 1 / config["a"], "macs": config["a"]},
        ...     reference={"loss": 1.0, "macs": 5.0},
        ... )
        >>> round(table.known_hypervolume(), 3)
        1.75
    """

    _: KW_ONLY
    space: Space = field(repr=False)
    directions: Directions
    evaluate: Callable[[Config], Mapping[str, float]] = field(repr=False)
    reference: Mapping[str, float]
    best_hypervolume: float | None = None
    exact: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        for name in self.directions:
            value = self.reference.get(name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise SearchError(
                    f"the reference point of the table has {value!r} for '{name}'.",
                    why="It needs a finite number for every objective.",
                    hint=f"reference with {', '.join(self.directions)}.",
                )
        for name in self.exact:
            if name not in self.directions:
                raise SearchError(
                    f"'{name}' is called exact but is no objective of the table.",
                    hint=f"name some of {', '.join(self.directions)}.",
                )
        best = self.best_hypervolume
        if best is not None and not (math.isfinite(best) and best > 0):
            raise SearchError(
                f"the best hypervolume of the table is {best!r}.",
                hint="give a positive number, or leave it out.",
            )

    def measure(self, config: Mapping[str, Option]) -> dict[str, float]:
        """The values of a config, checked: a finite number for every objective."""
        found = self.evaluate(self.space.validate(config))
        values = {}
        for name in self.directions:
            value = found.get(name) if isinstance(found, Mapping) else None
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if value is None or not is_number or not math.isfinite(value):
                raise SearchError(
                    f"the table gives {value!r} for '{name}' of {dict(config)!r}.",
                    why="Every objective must be a finite number.",
                    hint="leave the config out of the space, or record its value.",
                )
            values[name] = float(value)
        return values

    def only(self, objectives: Sequence[str], *, exact: Sequence[str] | None = None) -> Self:
        """The same configs with some of the objectives.

        Args:
            objectives: Their names, in the order wanted.
            exact: Which of them are counted; None takes those with the names of counts.
        """
        for name in objectives:
            if name not in self.directions:
                raise SearchError(
                    f"the table has no objective '{name}'.",
                    hint=near_misses(name, self.directions),
                )
        if not objectives or len(set(objectives)) < len(objectives):
            raise SearchError(
                f"{list(objectives)!r} is no choice of objectives.",
                why="At least one has to be named, and none twice.",
                hint=", ".join(self.directions),
            )
        counted = [name for name in objectives if name.lower() in COUNTED]
        is_same = set(objectives) == set(self.directions)
        return replace(
            self,
            directions={name: self.directions[name] for name in objectives},
            reference={name: self.reference[name] for name in objectives},
            # That of a CSV file is found again; what its author said holds for all of them.
            best_hypervolume=self.best_hypervolume if is_same else None,
            exact=tuple(counted if exact is None else exact),
        )

    def known_hypervolume(self) -> float | None:
        """What was given, else that of all configs if they are few enough to look through."""
        if self.best_hypervolume is not None:
            return float(self.best_hypervolume)
        return self._walked

    @cached_property
    def _walked(self) -> float | None:
        if not self.space.is_size_exact or self.space.size > LARGEST_WALK:
            return None
        values = [self.measure(config) for config in self.space.configs()]
        return hypervolume(values, self.reference, self.directions)

    def exact_losses(self) -> dict[int, Callable[[NDArray[np.int64]], NDArray[np.float64]]]:
        """For each exact objective its place and its losses of rows of genes, remembered."""
        return {list(self.directions).index(name): _Counted(self, name) for name in self.exact}


class _Counted:
    """The losses of one exact objective."""

    def __init__(self, table: RecordedTable, name: str) -> None:
        self._table, self._name = table, name
        self._known: dict[bytes, float] = {}

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        for row in rows:
            if row.tobytes() not in self._known:
                values = self._table.measure(self._table.space.from_indices(row))
                one = {self._name: self._table.directions[self._name]}
                self._known[row.tobytes()] = float(losses([values], one)[0, 0])
        return np.array([self._known[row.tobytes()] for row in rows], dtype=np.float64)
