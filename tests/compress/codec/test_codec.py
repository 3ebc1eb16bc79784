"""The codec: exact round trips, code lengths at the bound, probabilities by enumeration."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from supple.compress.codec import (
    CircuitCodec,
    HiddenChowLiuTree,
    chow_liu_tree,
    mutual_information,
)
from supple.errors import DataError

pytest.importorskip("constriction")


def table(count=80, columns=5, categories=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(categories, size=(count, columns))
    for i in range(1, columns):  # neighbours agree in two of three rows
        same = rng.random(count) < 2 / 3
        x[same, i] = x[same, i - 1]
    return x


def model(states=3, columns=5, categories=3, **more):
    one = HiddenChowLiuTree(states=states, categories=categories, **more)
    return one.fit(table(columns=columns, categories=categories), rounds=5)


def by_enumeration(one, x):
    """p(x), a sum over all hidden states."""
    total = 0.0
    for z in itertools.product(range(one.states), repeat=len(one.parents)):
        p = 1.0
        for i, parent in enumerate(one.parents):
            p *= one.root[z[i]] if parent < 0 else one.edges[i, z[parent], z[i]]
            p *= one.emissions[i, z[i], x[i]]
        total += p
    return total


def test_probabilities_are_those_of_the_enumeration_and_sum_to_one():
    one = model(columns=4)
    rows = np.array(list(itertools.product(range(3), repeat=4)))
    found = np.exp(one.log_prob(rows))
    assert found.sum() == pytest.approx(1)
    for row in rows[::7]:
        assert np.exp(one.log_prob(row[None]))[0] == pytest.approx(by_enumeration(one, row))


def test_marginals_are_sums_and_no_evidence_is_certain():
    one = model(columns=4)
    rows = np.array(list(itertools.product(range(3), repeat=4)))
    observed = np.zeros((1, 4), bool)
    x = np.array([[2, 0, 1, 0]])
    assert one.log_prob(x, observed=observed)[0] == pytest.approx(0)
    observed[0, [0, 2]] = True
    inside = rows[(rows[:, 0] == 2) & (rows[:, 2] == 1)]
    expected = np.exp(one.log_prob(inside)).sum()
    assert np.exp(one.log_prob(x, observed=observed))[0] == pytest.approx(expected)


def test_the_walk_gives_the_conditionals_of_full_passes():
    one, x = model(columns=6), table(10, 6)
    seen = np.zeros((10, 6), bool)
    logs = np.zeros(10)

    def choose(node, chance):
        before = one.log_prob(x, observed=seen)
        for v in range(3):
            y = x.copy()
            y[:, node] = v
            now = seen.copy()
            now[:, node] = True
            np.testing.assert_allclose(
                chance[:, v], np.exp(one.log_prob(y, observed=now) - before), rtol=1e-9
            )
        logs[:] += np.log(chance[np.arange(10), x[:, node]])
        seen[:, node] = True
        return x[:, node]

    assert np.array_equal(one.code(10, choose), x)
    np.testing.assert_allclose(logs, one.log_prob(x), rtol=1e-9)


def test_em_never_lowers_the_likelihood():
    x = table(300)
    one = HiddenChowLiuTree(states=3, categories=3, smoothing=0.0).fit(x, rounds=1)
    found = [one.step(x) for _ in range(20)]
    assert all(b >= a - 1e-10 for a, b in itertools.pairwise(found))
    assert found[-1] > found[0] + 0.01


def test_one_state_is_the_product_of_the_marginals():
    x = table()
    one = HiddenChowLiuTree(states=1, categories=3, smoothing=0.0).fit(x)
    expected = sum(np.log(np.bincount(x[:, i], minlength=3)[x[:, i]] / len(x)) for i in range(5))
    np.testing.assert_allclose(one.log_prob(x), expected)


def test_mutual_information_and_the_tree_are_other_libraries():
    x = table(200, 7)
    found = mutual_information(x, 3, smoothing=0.0)
    graph = nx.Graph()
    for i, j in itertools.combinations(range(7), 2):
        expected = mutual_info_score(x[:, i], x[:, j])
        assert found[i, j] == pytest.approx(expected, abs=1e-6)
        graph.add_edge(i, j, weight=expected)
    parents = chow_liu_tree(x, 3, smoothing=0.0)
    ours = {frozenset((i, p)) for i, p in enumerate(parents) if p >= 0}
    assert ours == {frozenset(e) for e in nx.maximum_spanning_tree(graph).edges}


@pytest.mark.parametrize("states", [1, 4])
def test_the_code_is_as_long_as_the_bound_and_some_bytes(states):
    one = model(states)
    x = table(400, seed=1)
    codec = CircuitCodec(one)
    data = codec.encode(x)
    bound = codec.bits_per_value(x) * x.size / 8
    assert np.array_equal(codec.decode(data), x)
    assert bound <= len(data) <= bound + 130


CODEC = CircuitCodec(model())
tables = st.lists(
    st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 2), min_size=5, max_size=5), max_size=6
)


@given(tables)
@settings(deadline=None, max_examples=60)
def test_every_table_comes_back(rows):
    x = np.array(rows, dtype=np.int64).reshape(-1, 5)
    found = CODEC.decode(CODEC.encode(x))
    assert found.dtype == x.dtype
    assert np.array_equal(found, x)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_dtypes_and_extremes_come_back(dtype):
    x = np.array(
        [[0, 1, 2, 0, np.iinfo(dtype).max], [np.iinfo(dtype).min, 2, 2, 2, 2]], dtype=dtype
    )
    found = CODEC.decode(CODEC.encode(x))
    assert found.dtype == x.dtype
    assert np.array_equal(found, x)


def test_samples_follow_the_model():
    one = model(columns=3)
    drawn = one.sample(20_000, seed=1)
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    np.testing.assert_allclose(counts / 20_000, np.exp(one.log_prob(rows)), atol=0.012)


def test_damage_and_misuse_are_named():
    data = bytearray(CODEC.encode(table(30)))
    for broken in (
        b"",
        data[:4],
        b"XXXX" + data[4:],
        data[:-3],
        data[:-8],
        data[:5] + b"\xff" + data[6:],
    ):
        with pytest.raises(DataError, match="cannot be read"):
            CODEC.decode(bytes(broken))
    flipped = bytearray(data)
    flipped[-10] ^= 0x55
    with pytest.raises(DataError, match="cannot be read"):
        CODEC.decode(bytes(flipped))
    other = CircuitCodec(HiddenChowLiuTree(states=2, categories=3).fit(table(seed=9)))
    with pytest.raises(DataError, match="cannot be read"):
        other.decode(bytes(data))
    with pytest.raises(DataError, match="4 variables|has 4"):
        CODEC.encode(np.zeros((2, 4), dtype=int))
    with pytest.raises(DataError, match="whole numbers"):
        CODEC.encode(np.zeros((2, 5)))
    with pytest.raises(DataError, match="not fitted"):
        CircuitCodec(HiddenChowLiuTree())
    with pytest.raises(DataError, match="categories=4"):
        HiddenChowLiuTree(categories=3).fit(np.array([[3]]))
    with pytest.raises(DataError, match="no example"):
        HiddenChowLiuTree().fit(np.zeros((0, 3), dtype=int))
