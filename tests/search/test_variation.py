"""Crossover and mutation of genes."""

import numpy as np
import pytest

from supple.search._evolution import Evolution
from supple.search._pareto import best_rows
from supple.search._unseen import DRAWS, fresh_rows, nearest_unseen, random_unseen, unseen_from
from supple.search._variation import Variation
from supple.space import Space, Swap, Width
from tests.search.conftest import constrained, point, stages, tiny


def variation(space, **settings):
    defaults = {"crossover": 0.9, "eta_crossover": 15.0, "mutation": None, "eta_mutation": 20.0}
    return Variation(space, **{**defaults, **settings})


def rows_of(space, count, rng):
    return space.to_indices_many(space.sample_many(count, rng, unique=False))


@pytest.mark.parametrize("space", [stages(), constrained(), tiny(), point()])
def test_children_are_configs_of_the_space(space):
    rng = np.random.default_rng(0)
    first, second = rows_of(space, 200, rng), rows_of(space, 200, rng)
    children = variation(space, mutation=0.3).children(first, second, rng)
    for config in space.from_indices_many(children):
        assert space.validate(config) == config
    assert np.array_equal(space.canonical_indices(children), children)


def test_without_crossover_and_mutation_the_child_is_its_first_parent():
    space, rng = stages(), np.random.default_rng(0)
    first, second = rows_of(space, 50, rng), rows_of(space, 50, rng)
    children = variation(space, crossover=0.0, mutation=0.0).children(first, second, rng)
    assert np.array_equal(children, first)


def test_a_mutation_changes_what_it_meets():
    space = Space({"a": Width(options=(1, 2, 3)), "b": Swap(options=("x", "y", "z"))})
    rng = np.random.default_rng(0)
    parents = rows_of(space, 3000, rng)
    children = variation(space, crossover=0.0, mutation=1.0).children(parents, parents, rng)
    assert np.all(children != parents)
    # A number mostly takes a step, either way; a name takes any other.
    steps = children[:, 0] - parents[:, 0]
    middle = parents[:, 0] == 1
    assert np.mean(steps[middle] == 1) == pytest.approx(0.5, abs=0.05)
    others = (children[:, 1] - parents[:, 1]) % 3
    assert np.mean(others == 1) == pytest.approx(0.5, abs=0.05)


def test_crossed_numbers_lie_around_their_parents_and_names_are_inherited():
    space = Space({"a": Width(options=tuple(range(1, 102))), "b": Swap(options=tuple("vwxyz"))})
    rng = np.random.default_rng(0)
    first = np.tile([30, 1], (4000, 1))
    second = np.tile([60, 3], (4000, 1))
    vary = variation(space, crossover=1.0, mutation=0.0)
    children = vary.children(first, second, rng)
    assert set(children[:, 1].tolist()) == {1, 3}
    numbers = children[:, 0]
    kept = np.mean(numbers == 30)
    assert kept > 0.5  # half are not taken, and some blends round to the parent
    # Simulated binary crossover keeps the mean of both children: here, of both parents.
    blended = numbers[numbers != 30]
    assert numbers.min() >= 0
    assert numbers.max() <= 100
    assert np.median(np.abs(blended - 60)) < 10 or np.median(np.abs(blended - 30)) < 10
    # With a large eta the children are the parents.
    near = variation(space, crossover=1.0, mutation=0.0, eta_crossover=1e4)
    assert set(near.children(first, second, rng)[:, 0].tolist()) == {30, 60}


def test_evolution_finds_the_whole_front_of_a_small_problem():
    """First loss: sum of the genes; second: sum of what is missing to the top, squared."""
    space = Space({f"w{n}": Width(options=(1, 2, 3, 4)) for n in range(5)})

    def objective(rows):
        return np.column_stack([rows.sum(axis=1), ((3 - rows) ** 2).sum(axis=1)]).astype(float)

    rng = np.random.default_rng(0)
    first = random_unseen(space, 40, set(), rng)
    found = Evolution(variation(space)).minimise(objective, first, 40, rng)
    every = objective(space.to_indices_many(space.configs()))
    best = {tuple(row) for row in every[best_rows(every, len(every))[:1]]}
    front = {
        tuple(row) for row in every if not np.any(np.all(every <= row, 1) & np.any(every < row, 1))
    }
    assert best <= front
    assert front <= {tuple(row) for row in found.losses}


def test_fresh_rows_drop_what_was_seen_and_repeats():
    rows = np.array([[0, 1], [1, 1], [0, 1], [2, 2]])
    kept = fresh_rows(rows, {np.array([1, 1]).tobytes()})
    assert kept.tolist() == [[0, 1], [2, 2]]


def test_unseen_rows_are_drawn_until_there_are_enough():
    asked = []

    def draw():
        asked.append(1)
        return np.array([[0], [len(asked)]])

    found = unseen_from(draw, {np.array([1]).tobytes()}, 3)
    assert found.ravel().tolist() == [0, 2, 3]  # 0 once, and 1 was seen
    assert len(asked) == 3
    asked.clear()
    assert len(unseen_from(lambda: draw()[:1], set(), 2)) == 1
    assert len(asked) == DRAWS


@pytest.mark.parametrize("space", [stages(1, 2), constrained(), tiny()])
def test_random_unseen_finds_all_that_is_left(space):
    rng = np.random.default_rng(0)
    seen, count = set(), 0
    while len(rows := random_unseen(space, 7, seen, rng)):
        count += len(rows)
        seen |= {row.tobytes() for row in rows}
    assert count == len(seen) == space.size


def test_the_nearest_unseen_config_is_near():
    space, rng = stages(), np.random.default_rng(0)
    row = space.to_indices(space.largest)
    near = nearest_unseen(space, row, {row.tobytes()}, rng)
    assert np.count_nonzero(near != row) == 1
    everything = {r.tobytes() for r in tiny().to_indices_many(tiny().configs())}
    assert nearest_unseen(tiny(), tiny().to_indices(tiny().largest), everything, rng) is None
