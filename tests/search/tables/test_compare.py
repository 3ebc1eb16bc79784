"""Comparisons: what is counted, medians and intervals, and that runs repeat."""

import numpy as np
import pytest

from supple.errors import SearchError
from supple.search import strategy
from supple.search.tables import Comparison, Outcome, RecordedTable, compare, load_table
from supple.search.tables import run_strategy as run
from supple.search.tables._compare import sampler_of
from supple.space import Space, Width


def small(**changes):
    settings = {
        "space": Space({n: Width(options=(1, 2, 3, 4, 5)) for n in "abc"}),
        "directions": {"loss": "min", "macs": "min"},
        "evaluate": lambda c: {
            "loss": 1 / c["a"] + 1 / c["b"] + 0.2 / c["c"],
            "macs": float(c["a"] * c["b"] + c["c"]),
        },
        "reference": {"loss": 2.3, "macs": 31.0},
        "exact": ("macs",),
    }
    return RecordedTable(**{**settings, **changes})


def comparison(*curves, best=1.0, evaluations=4):
    return Comparison(
        outcomes=tuple(
            Outcome(strategy="one", seed=seed, volumes=tuple(curve), seconds=1.0)
            for seed, curve in enumerate(curves)
        ),
        best=best,
        is_best_known=True,
        evaluations=evaluations,
    )


def test_shares_and_needed_measurements_by_hand():
    found = comparison([0.2, 0.6, 1.0, 2.0], [0.4, 1.0, 2.0, 2.0], [0.0, 0.2, 0.4, 0.6], best=2.0)
    assert found.share_after("one", 2)[0] == pytest.approx(0.3)
    assert found.needed("one", 0.5)[0] == 3.0  # 3, 2 and never
    assert found.needed("one", 0.3)[0] == 2.0  # 2, 2 and 4
    assert found.needed("one", 0.99)[0] == 4.0
    assert found.needed("one", 0.99)[2] == np.inf


def test_a_run_that_ended_early_keeps_its_last_share():
    found = comparison([0.5, 0.7])
    assert found.shares("one").tolist() == [[0.5, 0.7, 0.7, 0.7]]


def test_the_interval_of_the_median_is_that_of_resampled_seeds():
    rng = np.random.default_rng(0)
    values = rng.normal(size=15)
    found = comparison(*[[v] for v in values], evaluations=1)
    middle, low, high = found.share_after("one", 1)
    medians = np.median(rng.choice(values, size=(20_000, 15)), axis=1)
    assert middle == pytest.approx(np.median(values))
    # Medians of a sample are few different numbers: the ends are the same ones or neighbours.
    ordered = np.sort(values)
    for found_end, end in zip((low, high), np.quantile(medians, [0.025, 0.975]), strict=True):
        places = [int(np.abs(ordered - v).argmin()) for v in (found_end, end)]
        assert abs(places[0] - places[1]) <= 1


def test_all_configs_reach_the_whole_hypervolume_and_no_more():
    found = compare(small(), ["random"], seeds=(0, 1), evaluations=200)
    shares = found.shares("random")
    assert found.is_best_known
    assert shares[:, -1] == pytest.approx([1.0, 1.0])
    assert np.all(np.diff(shares, axis=1) >= 0)
    assert all(len(outcome.volumes) == 125 for outcome in found.outcomes)


def test_without_a_known_best_the_best_of_the_runs_counts():
    wide = Space({f"w{n}": Width(options=tuple(range(1, 11))) for n in range(6)})
    table = small(
        space=wide,
        evaluate=lambda c: {"loss": 1 / c["w0"], "macs": float(sum(c.values()))},
        reference={"loss": 1.1, "macs": 61.0},
    )
    found = compare(table, ["random", "local_search"], seeds=(0,), evaluations=30)
    assert not found.is_best_known
    last = [found.shares(name)[0, -1] for name in found.strategies]
    assert max(last) == pytest.approx(1.0)
    assert min(last) > 0


def test_a_config_measured_before_costs_nothing():
    """A sampler of Optuna that repeats itself is asked on until enough is new."""
    import optuna

    class Stubborn(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study, trial):
            return sampler._distributions

        def sample_relative(self, study, trial, search_space):
            number = trial.number // 3 + 1
            return {"a": min(number, 5), "b": 1, "c": 1}

    sampler = strategy("random", space=small().space)
    measured = run(small(), Stubborn(seed=0), 5)
    assert [round(v["macs"]) for v in measured] == [2, 3, 4, 5, 6]


def test_the_seed_decides_and_processes_change_nothing(tmp_path):
    rows = ["choice.a,choice.b,min.loss,min.macs"]
    rows += [f"{a},{b},{1 / a + 1 / b},{a * b}" for a in range(1, 6) for b in range(1, 6)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(rows))
    table = load_table(path)
    one = compare(table, ["random"], seeds=(0, 1), evaluations=12)
    two = compare(table, ["random"], seeds=(0, 1), evaluations=12)
    assert [o.volumes for o in one.outcomes] == [o.volumes for o in two.outcomes]
    assert one.outcomes[0].volumes != one.outcomes[1].volumes


@pytest.mark.slow
def test_runs_in_processes_give_the_same(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("choice.a,min.loss\n1,3\n2,2\n3,1\n4,5\n")
    table = load_table(path)
    alone = compare(table, ["random"], seeds=(0, 1), evaluations=3)
    apart = compare(table, ["random"], seeds=(0, 1), evaluations=3, jobs=2)
    assert [o.volumes for o in alone.outcomes] == [o.volumes for o in apart.outcomes]


def test_settings_in_a_name_and_what_is_exact():
    table = small()
    made = sampler_of("linas:population=7,random_share=0.25", table, 3)
    assert (made.population, made.random_share, made.seed) == (7, 0.25, 3)
    assert sorted(sampler_of("gp_ehvi", table, 0).exact) == [1]
    assert sampler_of("gp_ehvi:exact=off", table, 0).exact is None
    assert sampler_of("gp_ehvi", small(exact=()), 0).exact is None
    assert sampler_of("gp_ehvi:covers=false", table, 0).covers is False


def test_what_cannot_be_compared_is_refused_at_once():
    calls = []
    table = small(evaluate=lambda c: calls.append(c))
    for names, says in (
        (["random", "lina"], "did you mean 'linas'"),
        (["linas:population"], "settings of the strategy 'linas:population' cannot be read"),
        ([], "needs a strategy"),
    ):
        with pytest.raises(SearchError) as caught:
            compare(table, names, evaluations=5)
        assert says in str(caught.value)
    assert not calls
    with pytest.raises(SearchError, match="processes of their own need a table"):
        compare(small(), ["random"], jobs=2)


def test_a_function_can_be_compared_too():
    def smallest(table, seed, evaluations):
        return [table.measure(table.space.smallest)] * evaluations

    found = compare(small(), {"always the smallest": smallest}, seeds=(0,), evaluations=3)
    assert found.strategies == ("always the smallest",)
    assert len(set(found.outcomes[0].volumes)) == 1
