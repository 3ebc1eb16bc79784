"""How many configs a space has.

Counts by cases: set one choice, drop what it settles, and multiply over the parts that no
longer have anything to do with each other. A stage depth that switches its blocks on and off
costs a handful of steps this way, however many widths the blocks have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from supple.space._solve import Chosen, Solver, connected

__all__ = ["count"]

# About a second of counting. Nesting stays well below Python's own limit of recursion.
STEPS = 50_000
DEEPEST = 150


class _TooCostly(Exception):
    """Counting this part exactly takes too long."""


def count(solver: Solver) -> tuple[int, bool]:
    """The number of canonical configs, and whether it is exact.

    A part of the space that is too costly to count is taken as the product of its options, an
    upper bound.
    """
    total, is_exact = 1, True
    everything = frozenset(range(len(solver.table.names)))
    for part in _parts(solver, everything):
        try:
            total *= _Counter(solver).part(part, {}, 0)
        except _TooCostly:
            total *= math.prod(int(solver.table.counts[position]) for position in part)
            is_exact = False
    return total, is_exact


def _ties(solver: Solver, members: frozenset[int]) -> Iterator[tuple[int, ...]]:
    """Groups of genes that cannot be counted apart."""
    for position in members:
        yield (position, *(decider for decider, _ in solver.table.conditions[position]))
        for constraint in solver.touching.get(position, ()):
            yield solver.scope[constraint]


def _parts(solver: Solver, members: frozenset[int]) -> list[frozenset[int]]:
    return connected(sorted(members), _ties(solver, members))


class _Counter:
    """Counts one part of a space, remembering the subparts it has met."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.steps = 0
        self.known: dict[tuple[frozenset[int], tuple[tuple[int, int], ...]], int] = {}

    def part(self, part: frozenset[int], chosen: Chosen, depth: int) -> int:
        """Configs of one connected part, given the genes chosen so far."""
        head = min(part, key=self.solver.table.rank.__getitem__)
        # Deciders of the head are chosen: they come before it and would be in its part.
        deciders = self.solver.with_deciders((self.solver.table.names[head],))
        is_active = self.solver.activity(deciders, chosen)[head]
        touching = self.solver.touching.get(head, ())
        if len(part) == 1 and not touching:
            return int(self.solver.table.counts[head]) if is_active else 1
        key = (part, self._border(part, chosen))
        if key not in self.known:
            self.known[key] = self._cases(head, part - {head}, bool(is_active), chosen, depth)
        return self.known[key]

    def _cases(
        self, head: int, rest: frozenset[int], is_active: bool, chosen: Chosen, depth: int
    ) -> int:
        table = self.solver.table
        indices = range(int(table.counts[head])) if is_active else [int(table.largest[head])]
        touching = self.solver.touching.get(head, ())
        parts = _parts(self.solver, rest)
        total = 0
        for index in indices:
            self.steps += 1
            if self.steps > STEPS or depth > DEEPEST:
                raise _TooCostly
            with_head = {**chosen, head: index}
            if all(self.solver.possible(constraint, with_head) for constraint in touching):
                total += math.prod(self.part(part, with_head, depth + 1) for part in parts)
        return total

    def _border(self, part: frozenset[int], chosen: Chosen) -> tuple[tuple[int, int], ...]:
        """The chosen genes that the count of a part can hang on; -1 where one is inactive."""
        tied = {p for tie in _ties(self.solver, part) for p in tie if p in chosen}
        names = [self.solver.table.names[position] for position in sorted(tied)]
        active = self.solver.activity(self.solver.with_deciders(names), chosen)
        return tuple((p, chosen[p] if active[p] else -1) for p in sorted(tied))
