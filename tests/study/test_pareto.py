"""Non-dominated sorting against the definition and against pymoo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from supple.study import dominance_ranks, non_dominated


def dominates(a, b):
    return all(a <= b) and any(a < b)


def plain_ranks(losses):
    """Straight from the definition."""
    ranks, rank = {}, 0
    left = set(range(len(losses)))
    while left:
        front = {i for i in left if not any(dominates(losses[j], losses[i]) for j in left)}
        ranks.update(dict.fromkeys(front, rank))
        left -= front
        rank += 1
    return [ranks[i] for i in range(len(losses))]


@st.composite
def tables(draw):
    """Few different values, so that ties and equal rows are common."""
    objectives = draw(st.integers(1, 4))
    row = st.lists(st.integers(0, 4), min_size=objectives, max_size=objectives)
    rows = draw(st.lists(row, max_size=25))
    return np.array(rows, dtype=float).reshape(len(rows), objectives)


@given(tables())
def test_ranks_are_those_of_the_definition(losses):
    assert dominance_ranks(losses).tolist() == plain_ranks(losses)


@given(tables())
def test_the_front_is_rank_zero(losses):
    assert non_dominated(losses).tolist() == [rank == 0 for rank in plain_ranks(losses)]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_ranks_are_those_of_pymoo(objectives):
    losses = np.random.default_rng(objectives).random((200, objectives))
    expected = np.empty(200, dtype=int)
    for rank, rows in enumerate(NonDominatedSorting().do(losses)):
        expected[rows] = rank
    assert dominance_ranks(losses).tolist() == expected.tolist()
