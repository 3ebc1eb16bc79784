"""The choices of a space as arrays: genes, which of them are active, what they stand for.

A gene is the position of the chosen option among the options of its choice; a config is a row
of genes, in the order of the space. Everything here works on many rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supple.errors import ConfigError, SpaceError, near_misses
from supple.space.choice import Choice, Option

__all__ = ["Flags", "Genes", "Table"]

Genes = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Table:
    """Arrays for a fixed list of choices.

    Args:
        choices: The choices, checked here: conditions must name choices and options that exist,
            and no choice may depend on itself.
    """

    def __init__(self, choices: Mapping[str, Choice]) -> None:
        self.names = tuple(choices)
        self.choices = tuple(choices.values())
        self.position = {name: index for index, name in enumerate(self.names)}
        self.counts = np.array([len(c.options) for c in self.choices], dtype=np.int64)
        self.largest: Genes = np.array([c.largest_index for c in self.choices], dtype=np.int64)
        self.index_of = [{o: i for i, o in enumerate(c.options)} for c in self.choices]
        self.columns = [_column(choice) for choice in self.choices]
        # For each gene, its conditions: (deciding gene, which of its options let it hold).
        self.conditions = [self._conditions(name) for name in self.names]
        self.order = self._order()
        self.rank = {position: rank for rank, position in enumerate(self.order)}

    def _conditions(self, name: str) -> list[tuple[int, Flags]]:
        found = []
        for condition in self.choices[self.position[name]].when:
            if condition.choice not in self.position:
                raise SpaceError(
                    f"choice '{name}' depends on '{condition.choice}', which is not in the space.",
                    hint=near_misses(condition.choice, self.names),
                    choice=name,
                )
            decider = self.position[condition.choice]
            options = self.index_of[decider]
            for option in condition.options:
                if option not in options:
                    raise SpaceError(
                        f"choice '{name}' depends on '{condition.choice}' being {option!r}, "
                        f"which is not one of its options {tuple(options)}.",
                        hint="name options that the deciding choice has.",
                        choice=name,
                    )
            allowed = np.zeros(len(options), dtype=bool)
            allowed[[options[option] for option in condition.options]] = True
            found.append((decider, allowed))
        return found

    def _order(self) -> tuple[int, ...]:
        """Genes with deciding ones before those they decide on, otherwise as given."""
        ordered: dict[int, None] = {}
        waiting = list(range(len(self.names)))
        while waiting:
            late = [p for p in waiting if not all(d in ordered for d, _ in self.conditions[p])]
            ordered.update(dict.fromkeys(p for p in waiting if p not in set(late)))
            if len(late) == len(waiting):
                circle = ", ".join(f"'{self.names[p]}'" for p in late)
                raise SpaceError(
                    f"the choices {circle} depend on one another in a circle.",
                    why="Whether such a choice is active could never be told.",
                    hint="remove one of their conditions.",
                )
            waiting = late
        return tuple(ordered)

    def genes(self, rows: Any) -> Genes:
        """``rows`` as a clipped (N, G) array of genes; floats are rounded.

        Raises:
            ConfigError: For another width, other data than numbers, or NaN.
        """
        array = np.asarray(rows)
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise ConfigError(
                f"genes of shape {array.shape} do not fit a space of {len(self.names)} choices.",
                hint=f"give one row of {len(self.names)} integers per config.",
            )
        if array.size and (array.dtype.kind not in "iuf" or not np.all(np.isfinite(array))):
            raise ConfigError(
                f"genes must be finite numbers, got an array of {array.dtype}.",
                hint="give the position of each option: space.to_indices(config).",
            )
        top = np.maximum(self.counts - 1, 0)
        clipped: Genes = np.clip(np.rint(array), 0, top).astype(np.int64)
        return clipped

    def active(self, genes: Genes) -> Flags:
        """Which genes of each row are active, shape (N, G)."""
        active = np.ones(genes.shape, dtype=bool)
        for position in self.order:
            if self.conditions[position]:
                holds = [
                    active[:, decider] & allowed[genes[:, decider]]
                    for decider, allowed in self.conditions[position]
                ]
                active[:, position] = np.logical_or.reduce(holds)
        return active

    def canonical(self, genes: Genes) -> Genes:
        """The rows with inactive genes set to their largest option."""
        canonical: Genes = np.where(self.active(genes), genes, self.largest)
        return canonical

    def options(self, row: Genes) -> dict[str, Option]:
        """What one row stands for."""
        return {
            name: choice.options[index]
            for name, choice, index in zip(self.names, self.choices, row.tolist(), strict=True)
        }

    def onehot(self, genes: Genes, active: Flags) -> NDArray[np.float64]:
        """One column per option, rows of inactive choices all zero."""
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        encoded = np.zeros((len(genes), int(starts[-1])))
        rows = np.broadcast_to(np.arange(len(genes))[:, None], genes.shape)
        encoded[rows[active], (genes + starts[:-1])[active]] = 1.0
        return encoded

    def ordinal(self, genes: Genes, active: Flags) -> NDArray[np.float64]:
        """One column per choice holding its gene, -1 where inactive."""
        return np.where(active, genes, -1).astype(np.float64)


def _column(choice: Choice) -> NDArray[Any]:
    """The options of a choice as an array: float64, or text for a swap."""
    if choice.is_number:
        return np.array(choice.values, dtype=np.float64)
    return np.array(choice.options, dtype=np.str_)
