"""What every strategy promises, of supple and of Optuna."""

import math
import zlib

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from sklearn.tree import DecisionTreeRegressor

from supple.errors import SearchError
from supple.search import names, strategy
from supple.search._registry import _own
from supple.study import Study
from tests.search.conftest import DIRECTIONS, constrained, point, score, stages, tiny

OWN = sorted(_own())
QUICK = ["RandomSampler", "TPESampler", "NSGAIISampler", "NSGAIIISampler", "QMCSampler"]
SMALL = {
    "linas": {"population": 6, "inner_evaluations": 200, "inner_population": 20},
    "nsga2": {"population": 6},
    "nsga3": {"population": 6},
    "random": {"population": 6},
    "local_search": {"population": 6},
    "regularized_evolution": {"population": 3, "alive": 6, "tournament": 3},
    "weaknas": {"population": 6, "pool": 60, "predictor": DecisionTreeRegressor(random_state=0)},
    "op_gflownet": {"population": 6, "steps": 5, "batch_size": 8, "hidden": 8},
    "reinforce": {"population": 6, "hidden": 4},
    "neu_square_cb": {"population": 6, "arms": 20, "width": 8},
    "neu_fast_cb": {"population": 6, "arms": 20, "width": 8},
    "gp_ehvi": {
        "population": 6,
        "later": 4,
        "draws": 4,
        "candidates": 40,
        "inner_evaluations": 120,
        "inner_population": 20,
    },
    "TPESampler": {"n_startup_trials": 4},
    "NSGAIISampler": {"population_size": 4},
    "NSGAIIISampler": {"population_size": 4},
}
WAYS = [
    {"accuracy": "max"},
    {"latency": "min"},
    DIRECTIONS,
    {"accuracy": "max", "latency": "min", "macs": "min"},
]


def made(name, space, seed=0):
    return strategy(name, space=space, directions=DIRECTIONS, seed=seed, **SMALL.get(name, {}))


def run(name, space, evaluations, *, evaluate=score, seed=0, directions=DIRECTIONS, path=None):
    study = Study.open(path, space=space, directions=directions)
    return study.run(evaluate, made(name, space, seed), evaluations=evaluations)


def configs(study):
    return [trial.config for trial in study.trials]


def test_those_of_supple_are_known():
    assert sorted(SMALL.keys() - {"TPESampler", "NSGAIISampler", "NSGAIIISampler"}) == OWN
    assert names()[: len(OWN)] == OWN
    assert "TPESampler" in names()


SLOW = pytest.param("GPSampler", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*OWN, *QUICK, "BruteForceSampler", SLOW])
def test_every_config_is_valid_canonical_and_new(name):
    space = constrained()
    study = run(name, space, 16)
    assert len(set(configs(study))) == 16
    assert all(space.validate(config) == config for config in configs(study))


@pytest.mark.parametrize("name", [*OWN, *QUICK])
@pytest.mark.parametrize("directions", WAYS, ids=lambda d: "+".join(d))
def test_one_two_and_three_objectives(name, directions):
    study = run(name, stages(2, 2), 15, directions=directions)
    assert len(study.complete) == 15


@pytest.mark.parametrize("name", [*OWN, *QUICK, "BruteForceSampler"])
def test_a_budget_larger_than_the_space_measures_each_config_once(name):
    space = tiny()
    study = run(name, space, 100)
    assert set(configs(study)) == set(space.configs())
    assert len(study.trials) == space.size == 8
    assert "all 8 configs" in study.note


@pytest.mark.parametrize("name", [*OWN, *QUICK, "BruteForceSampler", "GPSampler"])
def test_a_space_of_one_point(name):
    study = run(name, point(), 10)
    assert configs(study) == [point().largest]


# From a file, which takes a while: one of each kind of batch, and what keeps notes in trials.
@pytest.mark.parametrize("name", ["gp_ehvi", "linas", "nsga2", "random", *QUICK])
def test_an_interrupted_search_goes_on_to_the_same_sequence(name, tmp_path):
    """Stopped inside a batch and between batches, with failed trials in it."""

    def evaluate(config):
        values = score(config)
        broken = zlib.crc32(repr(config).encode()) % 4 == 0
        return {**values, "latency": math.nan} if broken else values

    space = stages()
    straight = run(name, space, 20, evaluate=evaluate)
    assert len(straight.complete) < len(straight.trials)
    for evaluations in (1, 6, 13, 20):
        path = tmp_path / "study.db"
        resumed = run(name, space, evaluations, evaluate=evaluate, path=path)
    assert configs(resumed) == configs(straight)


@pytest.mark.parametrize("name", OWN)
def test_a_new_strategy_object_goes_on_where_another_stopped(name):
    """Nothing that decides is kept in the object: inside a batch, with failed trials in it."""

    def evaluate(config):
        values = score(config)
        broken = zlib.crc32(repr(config).encode()) % 4 == 0
        return {**values, "latency": math.nan} if broken else values

    space = stages()
    straight = run(name, space, 20, evaluate=evaluate)
    assert len(straight.complete) < len(straight.trials)
    pieces = Study.open(None, space=space, directions=DIRECTIONS)
    for evaluations in (1, 6, 13, 20):
        pieces.run(evaluate, made(name, space), evaluations=evaluations)
    assert configs(pieces) == configs(straight)


@pytest.mark.parametrize("name", [*OWN, *QUICK])
def test_the_seed_decides(name):
    space = stages()
    first = configs(run(name, space, 10))
    assert configs(run(name, space, 10)) == first
    assert configs(run(name, space, 10, seed=1)) != first or name == "QMCSampler"


@pytest.mark.parametrize("name", OWN)
def test_nothing_but_failures_is_survived(name):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=made(name, tiny()))

    def fail(trial):
        for choice, distribution in sampler._distributions.items():
            trial._suggest(choice, distribution)
        raise ValueError

    sampler = study.sampler
    study.optimize(fail, n_trials=8, catch=ValueError)
    assert {tuple(t.params.values()) for t in study.trials} == {
        tuple(config.values()) for config in tiny().configs()
    }
    with pytest.raises(SearchError, match="all configs") as caught:
        study.optimize(fail, n_trials=1)
    assert caught.value.data["exhausted"]


@pytest.mark.parametrize("name", [*OWN, "TPESampler"])
def test_it_is_an_ordinary_sampler_for_optuna(name):
    space = tiny()
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=made(name, space))

    def objective(trial):
        config = {
            "depth": trial.suggest_int("depth", 1, 2),
            "width": trial.suggest_int("width", 8, 24, step=8),
            "kind": trial.suggest_categorical("kind", ("linear", "kan")),
        }
        values = score(space.validate(config))
        return values["accuracy"], values["latency"]

    study.optimize(objective, n_trials=8)
    assert len({tuple(t.params.values()) for t in study.trials}) == 8
    with pytest.raises(SearchError, match="asks for 'lr', which the space does not have"):
        study.sampler.sample_independent(study, study.trials[0], "lr", IntDistribution(0, 1))


@pytest.mark.parametrize("name", OWN)
def test_two_studies_with_one_strategy_do_not_mix(name):
    space = stages()
    both = made(name, space)
    alone = [configs(run(name, space, n)) for n in (9, 14)]
    first = Study.open(None, space=space, directions=DIRECTIONS)
    second = Study.open(None, space=space, directions={"latency": "min"})
    for evaluations in range(1, 10):
        first.run(score, both, evaluations=evaluations)
        second.run(score, both, evaluations=evaluations)
    assert configs(first) == alone[0]
    first.run(score, both, evaluations=14)
    assert configs(first) == alone[1]


@pytest.mark.parametrize("name", OWN)
def test_configs_to_start_with_come_first(name):
    space = stages()
    start = (space.largest, space.smallest)
    study = Study.open(None, space=space, directions=DIRECTIONS)
    study.run(score, strategy(name, space=space, start=start, **SMALL[name]), evaluations=10)
    assert configs(study)[:2] == list(start)
    assert len(set(configs(study))) == 10


@pytest.mark.parametrize("name", OWN)
def test_no_global_seed_is_touched(name):
    before = np.random.get_state()[1].tolist()
    run(name, stages(), 14)
    assert np.random.get_state()[1].tolist() == before


# Wrong names and settings


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("lina", {}, "did you mean 'linas'?"),
        ("TPESamper", {}, "did you mean 'TPESampler'"),
        ("NoSampler", {}, "Optuna has no sampler 'NoSampler'"),
        ("CmaEsSampler", {}, "keeps its state in a pickle"),
        ("GridSampler", {}, "cannot be a strategy"),
        ("linas", {"populaton": 5}, "did you mean 'population'"),
        ("linas", {"population": 0}, "population of 'linas' must be at least 1"),
        ("nsga2", {"population": 1}, "population of 'nsga2' must be at least 2"),
        ("linas", {"encoding": "onehott"}, "did you mean 'onehot'?"),
        ("linas", {"random_share": 2.0}, "random_share is a fraction"),
        ("linas", {"inner_evaluations": 10}, "cannot run"),
        ("TPESampler", {"n_startup": 5}, "did you mean 'n_startup_trials'?"),
    ],
)
def test_what_does_not_exist_is_refused_with_near_misses(name, settings, says):
    with pytest.raises(SearchError) as caught:
        strategy(name, space=tiny(), **settings)
    assert says in str(caught.value)


def test_what_is_no_space_is_refused():
    for name in ("linas", "TPESampler"):
        with pytest.raises(SearchError, match="searches a Space, got dict"):
            strategy(name, space={"a": (1, 2)})
