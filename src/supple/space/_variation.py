"""Moving about in a space: draw, mutate, cross, step to a neighbour. All on rows of genes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from supple.space._solve import Solver
from supple.space._table import Flags, Genes, Table

__all__ = ["cross", "draw", "mutate", "neighbours"]

# Fresh draws of choices that break a constraint before they are repaired. A draw that fits is
# spread evenly over the configs, a repaired one is not.
REDRAWS = 30


def draw(solver: Solver, n: int, rng: np.random.Generator) -> Genes:
    """``n`` canonical rows, each option of each choice equally likely before repair."""
    table = solver.table
    genes = rng.integers(0, table.counts, size=(n, len(table.names)))
    for _ in range(REDRAWS if solver.groups else 0):
        broken = ~solver.check(table.canonical(genes))
        if not broken.any():
            break
        for column, group in enumerate(solver.groups):
            rows = np.flatnonzero(broken[:, column])
            positions = np.array(group.positions)
            fresh = rng.integers(0, table.counts[positions], size=(len(rows), len(positions)))
            genes[np.ix_(rows, positions)] = fresh
    return solver.repair(genes)


def mutate(
    solver: Solver, row: Genes, rng: np.random.Generator, probability: float | None
) -> Genes:
    """A row that differs from ``row`` in at least one active gene, if the space has another."""
    table = solver.table
    active = np.flatnonzero(table.active(row[None])[0] & (table.counts > 1))
    if not active.size:
        return row
    chance = 1.0 / active.size if probability is None else probability
    changed = active[rng.random(active.size) < chance]
    if not changed.size:
        changed = rng.choice(active, size=1)
    mutated = row.copy()
    mutated[changed] = _others(table, row, changed, rng)
    found = solver.repair_one(mutated, first=rng.permutation(changed).tolist())
    if np.array_equal(found, row):
        found = _any_other(solver, row, active, rng)
    return found


def _others(table: Table, row: Genes, positions: Genes, rng: np.random.Generator) -> Genes:
    """For each position an option other than the one in ``row``, all equally likely."""
    steps = rng.integers(1, table.counts[positions])
    others: Genes = (row[positions] + steps) % table.counts[positions]
    return others


def _any_other(solver: Solver, row: Genes, active: Genes, rng: np.random.Generator) -> Genes:
    """A row with one active gene changed; ``row`` itself if it is the only one there is.

    Two different canonical rows differ in a gene that is active in both: the first one, deciders
    before those they decide on. So trying all changes of one gene finds another row if any.
    """
    moves = [(p, i) for p in active.tolist() for i in range(int(solver.table.counts[p]))]
    for move in rng.permutation(len(moves)):
        position, index = moves[move]
        found = step(solver, row, position, index)
        if found is not None and index != row[position]:
            return found
    return row


def step(solver: Solver, row: Genes, position: int, index: int) -> Genes | None:
    """``row`` with one gene set, others following where constraints demand it; None if unfit."""
    moved = row.copy()
    moved[position] = index
    found = solver.repair_one(moved, first=(position,))
    return found if found[position] == index else None


def cross(solver: Solver, first: Genes, second: Genes, rng: np.random.Generator) -> Genes:
    """A row taking each gene from either parent, from the one in which it is active if only one.

    An inactive gene is at its largest option, which its parent never chose.
    """
    from_second = rng.random(len(first)) < 0.5
    active: Flags = solver.table.active(np.stack([first, second]))
    from_second = np.where(active[0] == active[1], from_second, active[1])
    child: Genes = np.where(from_second, second, first)
    return solver.repair_one(child)


def neighbours(solver: Solver, row: Genes) -> Iterator[Genes]:
    """The rows one step away: a number to an adjacent option, a swap to any other."""
    table = solver.table
    seen = {row.tobytes()}
    for position in np.flatnonzero(table.active(row[None])[0]).tolist():
        here, count = int(row[position]), int(table.counts[position])
        is_number = table.choices[position].is_number
        for index in (here - 1, here + 1) if is_number else range(count):
            if 0 <= index < count:
                found = step(solver, row, position, index)
                if found is not None and found.tobytes() not in seen:
                    seen.add(found.tobytes())
                    yield found
