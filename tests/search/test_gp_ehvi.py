"""What only GP-EHVI promises."""

import time
import tracemalloc

import numpy as np
import pytest

from supple.errors import SearchError
from supple.search import GPEHVI, RandomSearch
from supple.search._history import History
from supple.search._surrogate import Surrogate, Warp, _encoding
from supple.search.gp_ehvi import _fitted_rows
from supple.search.tables import RecordedTable, compare
from supple.space import Space, Swap, Width
from supple.study import Study, hypervolume
from tests.search.conftest import DIRECTIONS, score, stages

SPACE = stages(2, 3)
SMALL = {"draws": 8, "candidates": 120, "inner_evaluations": 600, "inner_population": 40}


def losses(rows, space=SPACE):
    values = [score(config) for config in space.from_indices_many(rows)]
    return np.array([[-v["accuracy"], v["latency"]] for v in values])


def past(count, seed=0, space=SPACE):
    rows = space.to_indices_many(space.sample_many(count, np.random.default_rng(seed)))
    return History(
        genes=rows,
        losses=losses(rows, space),
        seen=frozenset(row.tobytes() for row in rows),
        objectives=2,
        maximised=(True, False),
    )


def exact_latency(rows):
    return losses(rows)[:, 1]


# The first batch


def test_the_first_batch_spans_the_space():
    space = Space({f"w{n}": Width(options=tuple(range(1, 9))) for n in range(12)})
    empty = History(
        genes=np.zeros((0, 12), dtype=int), losses=np.zeros((0, 2)), seen=frozenset(), objectives=2
    )
    first = GPEHVI(space=space, population=20).batch(empty, 0)
    sizes = np.sort(first.mean(axis=1))
    assert [first.min(axis=1).max(), first.max(axis=1).min()] == [7, 0]  # the two ends are there
    assert np.diff(sizes).max() < 1.2
    chance = RandomSearch(space=space, population=20).batch(empty, 0).mean(axis=1)
    assert np.ptp(chance) < 0.6 * np.ptp(sizes)


def test_the_first_batch_is_spread_by_what_is_exact():
    empty = History(
        genes=np.zeros((0, len(SPACE)), dtype=int),
        losses=np.zeros((0, 2)),
        seen=frozenset(),
        objectives=2,
    )
    first = GPEHVI(space=SPACE, population=12, exact={1: exact_latency}).batch(empty, 0)
    found = np.sort(exact_latency(first))
    assert np.diff(found).max() < 0.35 * np.ptp(found)


def test_batches_are_smaller_after_the_first():
    strategy = GPEHVI(space=SPACE, population=7, later=3, **SMALL)
    assert [strategy._place(n) for n in (0, 6, 7, 9, 10)] == [
        (0, 0),
        (0, 6),
        (1, 0),
        (1, 2),
        (2, 0),
    ]
    assert len(strategy.batch(past(7), 1)) == 3


# What it knows


def test_exact_losses_are_never_guessed():
    known = past(30)
    surrogate = Surrogate(SPACE, known, {1: exact_latency}, warps=True)
    rows = past(15, seed=1).genes
    mean, std = surrogate.mean_and_std(rows)
    drawn = surrogate.draws(rows, 5, np.random.default_rng(0))
    assert mean[:, 1] == pytest.approx(exact_latency(rows))
    assert std[:, 1].tolist() == [0.0] * 15
    assert drawn[:, :, 1] == pytest.approx(np.tile(exact_latency(rows), (5, 1)))
    assert drawn[:, :, 0].std(axis=0).min() > 0
    assert surrogate.draws(rows, 0, np.random.default_rng(0)).shape == (1, 15, 2)


def test_an_exact_cost_makes_the_other_prediction_better():
    """Accuracy follows the cost here, which is a product that codes do not show."""
    rows = past(400, seed=2).genes
    errors = {}
    for name, exact in (("without", {}), ("with", {1: exact_latency})):
        surrogate = Surrogate(SPACE, past(25), exact, warps=False)
        mean, _ = surrogate.mean_and_std(rows)
        errors[name] = np.sqrt(np.mean((mean[:, 0] - losses(rows)[:, 0]) ** 2))
    assert errors["with"] < 0.8 * errors["without"]


def test_a_warp_keeps_the_order_and_undoes_itself():
    values = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 40.0])
    warp = Warp.of(values)
    warped = warp(values)
    assert np.all(np.diff(warped) > 0)
    assert np.array_equal(warped[values <= warp.middle], values[values <= warp.middle])
    assert warped[-1] < 20
    assert warp.undo(warped) == pytest.approx(values)
    assert Warp.of(np.ones(5))(values) is values


def test_inactive_choices_have_no_code_of_their_own():
    codes, alike, own = _encoding(SPACE)
    shallow = SPACE.to_indices(SPACE.canonical({**SPACE.largest, "s0.depth": 1}))
    changed = shallow.copy()
    changed[SPACE.names.index("s0.b2.width")] = 0
    assert np.array_equal(codes(shallow[None]), codes(changed[None]))
    assert [len(view) for view in alike] == [1, 1]
    assert [len(view) for view in own] == [len(SPACE), len(SPACE)]
    width = codes(shallow[None]).shape[1]
    for views in (alike, own):  # both ways together are all columns, each once
        columns = sorted(i for view in views for group in view for i in group)
        assert columns == sorted({*columns} & {*range(width)})
    names_only = Space({"a": Swap(options=("x", "y")), "b": Swap(options=("x", "y", "z"))})
    assert _encoding(names_only)[1:] == ([[[0, 1, 2, 3, 4]]], [[[0, 1], [2, 3, 4]]])


def test_settings_are_fitted_to_all_or_to_most_of_many():
    counts = range(1, 600)
    rows = [_fitted_rows(count) for count in counts]
    assert rows[:60] == list(counts[:60])
    assert all(count / 1.16 <= fitted <= count for count, fitted in zip(counts, rows, strict=True))
    assert len(set(rows[60:])) < 20  # and kept in between


def test_a_strategy_that_starts_late_proposes_what_one_that_was_there_proposes():
    """Settings of the first 69 measurements hold for 75 and 77; the first has them from before."""
    known = past(77)

    def until(count):
        return History(
            genes=known.genes[:count],
            losses=known.losses[:count],
            seen=known.seen,
            objectives=2,
            maximised=(True, False),
        )

    there, late = (GPEHVI(space=SPACE, later=4, **SMALL) for _ in range(2))
    assert _fitted_rows(75) == _fitted_rows(77) < 75
    there.batch(until(75), 4)
    assert np.array_equal(there.batch(until(77), 5), late.batch(until(77), 5))


# What it proposes


def test_the_batch_adds_more_than_chance_and_than_one_good_config_many_times():
    known = past(40)
    corner = (-0.4, 4.0)
    strategy = GPEHVI(
        space=SPACE, population=20, later=8, reference=(0.4, 4.0), exact={1: exact_latency}, **SMALL
    )
    batch = strategy.batch(known, 2)
    assert len({row.tobytes() for row in batch} | known.seen) == 48

    def after(rows):
        return hypervolume(np.vstack([known.losses, losses(rows)]), corner, ("min", "min"))

    chance = [after(past(8, seed=s).genes) for s in range(10, 30)]
    assert after(batch) > max(chance)
    assert np.ptp(losses(batch)[:, 1]) > 0.2 * np.ptp(known.losses[:, 1])


def test_the_reference_says_where_the_front_matters():
    known = past(40)
    limit = float(np.quantile(known.losses[:, 1], 0.2))
    cheap = GPEHVI(space=SPACE, later=6, reference=(0.0, limit), **SMALL).batch(known, 3)
    anywhere = GPEHVI(space=SPACE, later=6, **SMALL).batch(known, 3)
    assert np.mean(losses(cheap)[:, 1] < limit) >= 0.8
    assert np.mean(losses(anywhere)[:, 1] < limit) < 0.8
    with pytest.raises(SearchError, match="a reference of 1 values does not fit 2 objectives"):
        GPEHVI(space=SPACE, reference=(1.0,), **SMALL).batch(known, 3)


def test_settings_that_cannot_run_are_refused():
    with pytest.raises(SearchError, match="'later' of 'gp_ehvi' must be at least 1"):
        GPEHVI(space=SPACE, later=0)


@pytest.mark.slow
def test_fifty_of_ten_to_the_fifteen_within_five_seconds():
    space = Space({f"w{n:02d}": Width(options=tuple(range(1, 9))) for n in range(17)})
    assert space.size > 10**15
    rng = np.random.default_rng(0)
    rows = space.to_indices_many(space.sample_many(500, rng))
    values = np.stack([np.exp(-rows.mean(axis=1)), rows.mean(axis=1)], axis=1)
    known = History(
        genes=rows, losses=values, seen=frozenset(r.tobytes() for r in rows), objectives=2
    )
    strategy = GPEHVI(space=space, population=50, later=50)
    start = time.process_time()
    assert len(strategy.batch(known, 10)) == 50
    assert time.process_time() - start < 5


@pytest.mark.slow
def test_it_needs_fewer_measurements_than_linas():
    table = RecordedTable(
        space=SPACE,
        directions=DIRECTIONS,
        evaluate=lambda config: {name: score(config)[name] for name in DIRECTIONS},
        reference={"accuracy": 0.4, "latency": 4.0},
    )
    found = compare(table, ["gp_ehvi", "linas", "random"], seeds=range(3), evaluations=100)
    assert found.is_best_known
    ours, theirs = found.shares("gp_ehvi"), found.shares("linas")
    assert ours.mean() > theirs.mean() > found.shares("random").mean()
    assert ours[:, -1].min() > 0.98


def test_three_objectives_and_one():
    for directions in ({"latency": "min"}, {"accuracy": "max", "latency": "min", "macs": "min"}):
        study = Study.open(None, space=SPACE, directions=directions)
        strategy = GPEHVI(space=SPACE, population=10, later=5, **SMALL)
        study.run(score, strategy, evaluations=25)
        chance = Study.open(None, space=SPACE, directions=directions)
        chance.run(score, RandomSearch(space=SPACE), evaluations=25)
        corner = {"accuracy": 0.3, "latency": 5.0, "macs": 10_000.0}
        corner = {name: corner[name] for name in directions}
        assert study.front.hypervolume(corner) > chance.front.hypervolume(corner)


# Further columns


def hidden(rows):
    """What the accuracy depends on, and codes do not say."""
    return np.sin(37.0 * (rows + 1) @ np.arange(1, rows.shape[1] + 1))


def strange(rows):
    return np.stack([hidden(rows) + 0.01 * rows[:, 0], exact_latency(rows)], axis=1)


def test_features_that_tell_the_answer_are_used():
    known = past(40)
    known = History(genes=known.genes, losses=strange(known.genes), seen=known.seen, objectives=2)
    rows = past(100, seed=3).genes
    errors = []
    for features in (None, hidden):
        surrogate = Surrogate(SPACE, known, {1: exact_latency}, warps=False, features=features)
        drawn = surrogate.draws(rows, 0, np.random.default_rng(0))[0, :, 0]
        errors.append(np.sqrt(np.mean((drawn - strange(rows)[:, 0]) ** 2)))
    assert errors[1] < 0.3 * errors[0]


def test_features_are_asked_for_measured_configs_and_candidates_only():
    asked = []

    def features(rows):
        asked.append(len(rows))
        return np.zeros((len(rows), 2))

    batch = GPEHVI(space=SPACE, later=4, features=features, **SMALL).batch(past(30), 2)
    assert len(batch) == 4
    assert sum(asked) <= 30 + SMALL["candidates"]
    with pytest.raises(SearchError, match="features of a config hold a value that is not finite"):
        GPEHVI(space=SPACE, features=lambda rows: np.full(len(rows), np.nan), **SMALL).batch(
            past(30), 2
        )


@pytest.mark.slow
def test_memory_stays_as_it_was():
    known = past(60)
    strategy = GPEHVI(space=SPACE, later=4, **SMALL)
    strategy.batch(known, 2)
    tracemalloc.start()
    try:
        strategy.batch(known, 3)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4, 7):
            strategy.batch(known, number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000
