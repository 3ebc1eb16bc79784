"""Configs that satisfy constraints: repair one, list all, count them.

Choices are tied together by constraints and by the conditions of the choices these speak about.
Each such group is solved on its own by backtracking: try the preferred option of one choice
after the other, and turn back as soon as a constraint can no longer hold. Groups are small in
practice; a budget of steps bounds the search where they are not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from supple.errors import SpaceError, near_misses
from supple.space._table import Flags, Genes, Table
from supple.space.choice import Option
from supple.space.constraints import Constraint

__all__ = ["Group", "Solver", "connected"]

# A group that has a solution is mostly solved in a few steps per choice; this ends the rest.
STEPS = 100_000

Chosen = dict[int, int]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Choices that constraints tie together, deciding ones first."""

    positions: tuple[int, ...]
    constraints: tuple[Constraint, ...]


class Solver:
    """Finds rows of genes that satisfy all constraints.

    Args:
        table: The choices.
        constraints: The constraints, checked here against the choices.
    """

    def __init__(self, table: Table, constraints: Sequence[Constraint]) -> None:
        self.table = table
        self.constraints = tuple(constraints)
        for constraint in self.constraints:
            self._check_names(constraint)
        # Genes a constraint depends on: those it names and all that decide on them.
        self.scope = {c: self.with_deciders(c.involved()) for c in self.constraints}
        self.touching: dict[int, list[Constraint]] = {}
        for constraint, scope in self.scope.items():
            for position in scope:
                self.touching.setdefault(position, []).append(constraint)
        self.groups = [self._group(part) for part in connected(self.touching, self.scope.values())]

    def _check_names(self, constraint: Constraint) -> None:
        kinds = set()
        for name in constraint.involved():
            if name not in self.table.position:
                raise SpaceError(
                    f"the constraint '{constraint.kind}' speaks about '{name}', which is not in "
                    "the space.",
                    hint=near_misses(name, self.table.names),
                    choice=name,
                )
            kinds.add(self.table.choices[self.table.position[name]].is_number)
        if (False in kinds and constraint.needs_numbers) or len(kinds) > 1:
            raise SpaceError(
                f"the constraint '{constraint.kind}' over {constraint.involved()} compares names "
                "with numbers.",
                why="A swap chooses among names, which have no size.",
                hint="leave swaps out of it, or tie swaps only to swaps with Equal.",
            )

    def with_deciders(self, names: Sequence[str]) -> tuple[int, ...]:
        """The named genes and all that decide on them, deciding ones first."""
        found: set[int] = set()
        waiting = [self.table.position[name] for name in names]
        while waiting:
            position = waiting.pop()
            if position not in found:
                found.add(position)
                waiting.extend(decider for decider, _ in self.table.conditions[position])
        return tuple(sorted(found, key=self.table.rank.__getitem__))

    def _group(self, part: frozenset[int]) -> Group:
        return Group(
            positions=tuple(sorted(part, key=self.table.rank.__getitem__)),
            constraints=tuple(c for c in self.constraints if self.scope[c][0] in part),
        )

    def check(self, genes: Genes, active: Flags | None = None) -> Flags:
        """Which rows satisfy each group, shape (N, groups)."""
        if active is None:
            active = self.table.active(genes)
        holds = np.ones((len(genes), len(self.groups)), dtype=bool)
        for column, group in enumerate(self.groups):
            for constraint in group.constraints:
                where = {name: self.table.position[name] for name in constraint.involved()}
                values = {n: self.table.columns[p][genes[:, p]] for n, p in where.items()}
                holds[:, column] &= constraint.check(
                    values, {n: active[:, p] for n, p in where.items()}
                )
        return holds

    def repair(self, genes: Genes, first: Sequence[int] = ()) -> Genes:
        """The canonical rows, changed no more than needed for the constraints to hold.

        Args:
            genes: Rows of genes.
            first: Genes that should keep their option if any config allows it.

        Raises:
            SpaceError: If no config satisfies the constraints.
        """
        canonical = self.table.canonical(genes)
        if not self.constraints:
            return canonical
        fixed = canonical.copy()
        for row, column in np.argwhere(~self.check(canonical)):
            group = self.groups[column]
            found = self.solve(group, canonical[row], first)
            if found is None:
                raise unsatisfiable(self._conflict(group, canonical[row]))
            for position, index in found.items():
                fixed[row, position] = index
        return self.table.canonical(fixed)

    def _conflict(self, group: Group, row: Genes) -> Group:
        """As few of the group's constraints as still leave no config."""
        kept = list(group.constraints)
        for constraint in group.constraints:
            fewer = [other for other in kept if other is not constraint]
            if fewer and not Solver(self.table, fewer)._has_solution(row):
                kept = fewer
        return replace(group, constraints=tuple(kept))

    def _has_solution(self, row: Genes) -> bool:
        try:
            return all(self.solve(group, row) is not None for group in self.groups)
        except SpaceError:  # given up: who knows
            return True

    def repair_one(self, row: Genes, first: Sequence[int] = ()) -> Genes:
        """One row repaired."""
        repaired: Genes = self.repair(row[None], first)[0]
        return repaired

    def solve(self, group: Group, genes: Genes, first: Sequence[int] = ()) -> Chosen | None:
        """A choice for every gene of the group near the given row, or None if there is none."""
        early = [position for position in first if position in group.positions]
        rest = [position for position in group.positions if position not in early]
        # Whoever is decided last bends to the others, so the order differs from row to row; it
        # hangs on the row alone, so that the same row is always repaired in the same way.
        shuffle = np.random.default_rng(zlib.crc32(genes.tobytes())).permutation(len(rest))

        def near(position: int) -> Sequence[int]:
            return self._near(position, int(genes[position]))

        order = [*early, *(rest[index] for index in shuffle)]
        return next(self.solutions(order, near, group=group), None)

    def _near(self, position: int, wanted: int) -> list[int]:
        indices = range(int(self.table.counts[position]))
        if not self.table.choices[position].is_number:
            return sorted(indices, key=lambda index: index != wanted)
        return sorted(indices, key=lambda index: (abs(index - wanted), -index))

    def solutions(
        self,
        order: Sequence[int],
        preference: Callable[[int], Sequence[int]],
        *,
        group: Group | None = None,
    ) -> Iterator[Chosen]:
        """All ways to set the genes in ``order`` that satisfy the constraints, preferred first.

        Lists each canonical config once if deciding genes come first in ``order``.

        Args:
            order: The genes to set.
            preference: The options to try for a gene, in this order.
            group: Gives up with a SpaceError naming this group after a budget of steps.
        """
        chosen: Chosen = {}
        stack = [iter(self._tries(order[0], chosen, preference))] if order else []
        if not order:
            yield {}
        steps = 0
        while stack:
            position = order[len(stack) - 1]
            for index in stack[-1]:
                steps += 1
                chosen[position] = index
                if all(self.possible(c, chosen) for c in self.touching.get(position, ())):
                    break
            else:
                stack.pop()
                chosen.pop(position, None)
                continue
            if group is not None and steps > STEPS:
                raise unsatisfiable(group, given_up=True)
            if len(stack) == len(order):
                yield dict(chosen)
            else:
                stack.append(iter(self._tries(order[len(stack)], chosen, preference)))

    def _tries(
        self, position: int, chosen: Chosen, preference: Callable[[int], Sequence[int]]
    ) -> Sequence[int]:
        deciders = self.with_deciders((self.table.names[position],))
        if self.activity(deciders, chosen)[position] is False:
            return (int(self.table.largest[position]),)
        return preference(position)

    def activity(self, scope: Sequence[int], chosen: Chosen) -> dict[int, bool | None]:
        """Which genes of ``scope`` are active; None while it hangs on genes not chosen yet."""
        active: dict[int, bool | None] = {}
        for position in scope:
            conditions = self.table.conditions[position]
            states = [
                _condition(active[decider], allowed, chosen.get(decider))
                for decider, allowed in conditions
            ]
            if not conditions or True in states:
                active[position] = True
            else:
                active[position] = None if None in states else False
        return active

    def possible(self, constraint: Constraint, chosen: Chosen) -> bool:
        """Whether the constraint can still hold; exact once all genes of its scope are chosen."""
        active = self.activity(self.scope[constraint], chosen)
        sure: dict[str, Sequence[Option]] = {}
        maybe: dict[str, Sequence[Option]] = {}
        for name in constraint.involved():
            position = self.table.position[name]
            options = self.table.choices[position].options
            if active[position] is not False:
                index = chosen.get(position)
                open_options = options if index is None else (options[index],)
                (sure if active[position] else maybe)[name] = open_options
        return constraint.possible(sure, maybe)


def _condition(decider: bool | None, allowed: Flags, index: int | None) -> bool | None:
    """Whether one condition holds, given whether its decider is active and what it is set to."""
    lets_it_hold = bool(allowed.any()) if index is None else bool(allowed[index])
    if decider is False or not lets_it_hold:
        return False
    return None if index is None or decider is None else True


def connected(members: Iterable[int], ties: Iterable[Sequence[int]]) -> list[frozenset[int]]:
    """The members in parts such that no tie crosses parts."""
    part_of = {member: {member} for member in members}
    for tie in ties:
        tied = [member for member in tie if member in part_of]
        merged: set[int] = set().union(*(part_of[member] for member in tied))
        for member in merged:
            part_of[member] = merged
    return list({frozenset(part): None for part in part_of.values()})


def unsatisfiable(group: Group, *, given_up: bool = False) -> SpaceError:
    """The error for a group that has no solution, or in which none was found."""
    named = "; ".join(str(constraint) for constraint in group.constraints[:4])
    if given_up:
        return SpaceError(
            f"no config that satisfies these constraints was found in {STEPS} steps: {named}.",
            hint="tie fewer choices together, or loosen the bounds.",
        )
    return SpaceError(
        f"no config of this space satisfies these constraints: {named}.",
        why="Every combination of the options they speak about breaks at least one of them; "
        "without any one of them there would be some.",
        hint="loosen a bound, or give the choices options in common.",
        constraints=[str(constraint) for constraint in group.constraints],
    )
