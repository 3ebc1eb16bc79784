"""What a study keeps, and what happens when things go wrong."""

import json
import math
import os
import random
import sqlite3

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler

from supple.errors import MissingExtraError, SearchError, StudyError
from supple.progress import Event
from supple.search import RandomSearch
from supple.space import Space, Width
from supple.study import Study, _lock
from tests.study.conftest import DIRECTIONS, evaluate, small_space


def opened(path=None, **changes):
    settings = {"space": small_space(), "directions": DIRECTIONS, **changes}
    return Study.open(path, **settings)


def strategy(seed=0):
    return RandomSearch(space=small_space(), seed=seed, population=4)


def configs(study):
    return [trial.config for trial in study.complete]


def write_transactions(path):
    """How many transactions ever wrote to an SQLite file: its change counter."""
    return int.from_bytes(path.read_bytes()[24:28], "big")


# What is kept


def test_trials_hold_everything_that_was_measured(path):
    study = opened(path)
    study.run(lambda c: (evaluate(c), {"spread": (0.1, 0.2)}), strategy(), evaluations=6)
    again = Study.load(path)
    assert again.trials == study.trials
    assert [trial.number for trial in again.trials] == list(range(6))
    for trial in again.trials:
        assert trial.state == "complete"
        assert list(trial.values) == ["accuracy", "latency", "macs"]
        assert trial.values == evaluate(trial.config)
        assert trial.details == {"spread": [0.1, 0.2]}
        assert 0 <= trial.seconds < 10
    assert again.space == small_space()
    assert again.directions == DIRECTIONS
    assert list(again.front) == list(study.front)
    assert repr(again) == f"Study('study' at {path}: 6 of 6 trials complete)"


def test_a_study_may_live_in_memory(space):
    study = opened()
    study.run(evaluate, strategy(), evaluations=3)
    assert study.storage == "memory"
    assert len(study.complete) == 3


def test_a_trial_costs_three_write_transactions(path):
    study = opened(path)
    study.run(evaluate, strategy(), evaluations=1)
    before = write_transactions(path)
    study.run(evaluate, strategy(), evaluations=6)
    # One when it starts; its details and then its state when it ends.
    assert write_transactions(path) - before == 3 * 5


def test_the_file_uses_the_rollback_journal(path):
    opened(path).run(evaluate, strategy(), evaluations=1)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    assert sorted(p.name for p in path.parent.iterdir()) == ["study.db"]


def test_optuna_reads_it_as_its_own(path):
    study = opened(f"sqlite:///{path}", name="mine")
    study.run(evaluate, strategy(), evaluations=5)
    theirs = optuna.load_study(study_name="mine", storage=f"sqlite:///{path}")
    assert [t.params for t in theirs.trials] == [dict(t.config) for t in study.trials]
    assert [t.values for t in theirs.trials] == [
        [t.values["accuracy"], t.values["latency"]] for t in study.trials
    ]
    assert theirs.metric_names == ["accuracy", "latency"]
    assert [d.name for d in theirs.directions] == ["MAXIMIZE", "MINIMIZE"]
    kinds = theirs.trials[0].distributions
    assert kinds["a"] == optuna.distributions.IntDistribution(8, 32, step=8)
    assert kinds["b"] == optuna.distributions.CategoricalDistribution((8, 16, 32))
    assert kinds["c"] == optuna.distributions.CategoricalDistribution(("linear", "kan"))
    best = {t.number for t in theirs.best_trials}
    assert best == {c.number for c in study.front}
    theirs._storage._backend.engine.dispose()


def test_several_studies_share_a_file(path):
    opened(path, name="one").run(evaluate, strategy(), evaluations=2)
    opened(path, name="two").run(evaluate, strategy(), evaluations=3)
    assert len(Study.load(path, "one").complete) == 2
    assert len(Study.load(path, "two").complete) == 3
    with pytest.raises(StudyError, match="holds 2 studies") as caught:
        Study.load(path)
    assert "'one', 'two'" in str(caught.value)
    with pytest.raises(StudyError, match="did you mean 'two'"):
        Study.load(path, "twos")


def test_details_that_json_has_no_word_for_are_kept_as_text(path):
    strange = {"array": np.arange(3), "nan": math.nan, "object": {1, 2}, 3: np.float32(0.5)}
    opened(path).run(lambda c: (evaluate(c), strange), strategy(), evaluations=1)
    details = Study.load(path).trials[0].details
    assert details == {"array": [0, 1, 2], "nan": "nan", "object": [1, 2], "3": 0.5}
    json.dumps(dict(details), allow_nan=False)


# Resuming


def test_running_on_counts_the_trials_from_before(path):
    straight = opened().run(evaluate, strategy(), evaluations=11)
    for evaluations in (3, 3, 4, 11):
        opened(path).run(evaluate, strategy(), evaluations=evaluations)
    assert configs(Study.load(path)) == configs(straight)
    assert len({trial.number for trial in Study.load(path).trials}) == 11


def test_nothing_is_evaluated_when_all_was_done(path):
    opened(path).run(evaluate, strategy(), evaluations=4)
    opened(path).run(pytest.fail, strategy(), evaluations=4)


def test_a_driver_that_died_left_a_trial_that_is_run_again(path):
    class Killed(BaseException):
        """Stands for kill -9: nothing is cleaned up."""

    calls = []

    def dies_at_third(config):
        calls.append(config)
        if len(calls) == 3:
            raise Killed
        return evaluate(config)

    study = opened(path)
    with pytest.raises(Killed):
        study.run(dies_at_third, strategy(), evaluations=8)
    assert [t.state for t in Study.load(path).trials] == ["complete", "complete", "running"]

    study = opened(path).run(evaluate, strategy(), evaluations=8)
    assert [t.reason for t in study.trials[:4]] == ["", "", "abandoned", ""]
    assert study.trials[2].config == study.trials[3].config == calls[2]
    assert configs(study) == configs(opened().run(evaluate, strategy(), evaluations=8))


def test_ctrl_c_ends_cleanly_with_what_there_is(path):
    def interrupted_at_fourth(config):
        if len(study.complete) == 3:
            raise KeyboardInterrupt
        return evaluate(config)

    study = opened(path)
    study.run(interrupted_at_fourth, strategy(), evaluations=9)
    assert study.interrupted
    assert study.note == "interrupted after 3 of 9 evaluations"
    assert [t.reason for t in study.trials] == ["", "", "", "interrupted"]
    study.run(evaluate, strategy(), evaluations=9)
    assert not study.interrupted
    assert study.note == ""
    assert configs(study) == configs(opened().run(evaluate, strategy(), evaluations=9))


def test_stop_is_asked_before_every_trial(path):
    study = opened(path)
    study.run(evaluate, strategy(), evaluations=9, stop=lambda s: len(s.complete) == 2)
    assert len(study.trials) == 2
    assert study.note == "stopped after 2 of 9 evaluations"


def test_progress_is_told_of_every_trial():
    events = []
    study = opened().run(evaluate, strategy(), evaluations=2, progress=events.append)
    expected = [
        Event("search", n + 1, 2, f"trial {n}", dict(study.trials[n].values)) for n in range(2)
    ]
    assert events == expected


# Another study


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fingerprint": {"task": "cifar10", "rows": [1, 2]}}, "task was 'digits', now 'cifar10'"),
        ({"fingerprint": {"task": "digits"}}, r"rows was \[1, 2\], now not there"),
        ({"directions": {"accuracy": "max", "macs": "min"}}, "now accuracy max, macs min"),
        ({"directions": {"latency": "min", "accuracy": "max"}}, "were accuracy max, latency min"),
        ({"space": Space({"a": Width(options=(8, 16))})}, "lacks the choice 'depth'"),
        (
            {"space": Space({**small_space(), "a": Width(options=(8, 16))})},
            r"choice 'a' had options \(8, 16, 24, 32\), now \(8, 16\)",
        ),
        (
            {"space": Space({**small_space(), "a": Width(options=(8, 16, 24, 32), size=64)})},
            "choice 'a' has another kind, size or condition",
        ),
    ],
)
def test_a_study_of_something_else_says_what_differs(path, changes, says):
    first = {"fingerprint": {"task": "digits", "rows": (1, 2)}}
    opened(path, **first).run(evaluate, strategy(), evaluations=2)
    with pytest.raises(StudyError, match=says) as caught:
        opened(path, **{**first, **changes})
    assert "another storage or name" in str(caught.value)
    assert len(opened(path, **first).complete) == 2


def test_an_optuna_study_of_somebody_else_is_left_alone(path):
    path.parent.mkdir(parents=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    theirs = optuna.create_study(study_name="study", storage=f"sqlite:///{path}")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    theirs._storage._backend.engine.dispose()
    with pytest.raises(StudyError, match="was not made by supple"):
        opened(path)
    with pytest.raises(StudyError, match="was not made by supple"):
        Study.load(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"directions": {}}, "one to 3 objectives"),
        ({"directions": {"a": "maximise"}}, "direction 'maximise'"),
        ({"space": {"a": (1, 2)}}, "searches a Space, got dict"),
        ({"fingerprint": {"task": object()}}, "fingerprint cannot be stored"),
        ({"fingerprint": {"lr": math.nan}}, "fingerprint cannot be stored"),
    ],
)
def test_what_is_no_study_is_refused(path, changes, says):
    with pytest.raises(StudyError, match=says):
        opened(path, **changes)
    assert not path.exists()


def test_a_study_that_is_only_read_cannot_be_run(path):
    opened(path)
    with pytest.raises(StudyError, match="was loaded to be read"):
        Study.load(path).run(evaluate, strategy(), evaluations=1)


def test_a_strategy_of_another_space_or_of_no_kind_is_refused():
    other = RandomSearch(space=Space({"a": Width(options=(8, 16))}))
    with pytest.raises(StudyError, match="made for another space"):
        opened().run(evaluate, other, evaluations=1)
    with pytest.raises(StudyError, match="run by an Optuna sampler, got str"):
        opened().run(evaluate, "linas", evaluations=1)
    with pytest.raises(StudyError, match="must be a whole number"):
        opened().run(evaluate, strategy(), evaluations=1.5)


# Evaluations that fail


@pytest.mark.parametrize(
    ("result", "reason", "says"),
    [
        ({"accuracy": math.nan, "latency": 1.0}, "value", "objective 'accuracy' is nan"),
        ({"accuracy": 0.5, "latency": math.inf}, "value", "objective 'latency' is inf"),
        ({"accuracy": "high", "latency": 1.0}, "value", "'accuracy' is not a number: 'high'"),
        ({"accuracy": True, "latency": 1.0}, "value", "'accuracy' is not a number"),
        ({"accuracy": 0.5}, "value", "no value for the objective 'latency'"),
        (0.5, "raised", "returned float instead of values by name"),
        (ZeroDivisionError("by user"), "raised", "ZeroDivisionError: by user"),
    ],
)
def test_a_failed_evaluation_is_recorded_and_the_search_goes_on(path, result, reason, says):
    def second_fails(config):
        if len(study.trials) != 1:
            return evaluate(config)
        if isinstance(result, Exception):
            raise result
        return result

    study = opened(path)
    study.run(second_fails, strategy(), evaluations=3)
    trials = Study.load(path).trials
    assert [t.state for t in trials] == ["complete", "failed", "complete", "complete"]
    assert trials[1].reason == reason
    assert says in trials[1].error
    assert trials[1].values == {}
    assert trials == study.trials


def test_numbers_of_other_libraries_are_numbers(path):
    def numpy_numbers(config):
        return {k: np.float32(v) for k, v in evaluate(config).items()}

    study = opened(path).run(numpy_numbers, strategy(), evaluations=1)
    assert all(type(v) is float for v in study.trials[0].values.values())


def test_five_failures_at_the_start_stop_the_search_and_are_run_again(path):
    with pytest.raises(StudyError, match="the first 5 evaluations all failed") as caught:
        opened(path).run(lambda config: {}["loader"], strategy(), evaluations=20)
    assert "KeyError: 'loader'" in str(caught.value)
    assert [t.reason for t in Study.load(path).trials] == ["raised"] * 5
    mended = opened(path).run(evaluate, strategy(), evaluations=8)
    assert configs(mended) == configs(opened().run(evaluate, strategy(), evaluations=8))


def test_failures_later_on_do_not_stop_the_search():
    study = opened()

    def mostly_fails(config):
        if len(study.trials) % 6 != 0:
            raise ValueError
        return evaluate(config)

    study.run(mostly_fails, strategy(), evaluations=3)
    assert len(study.complete) == 3
    assert len(study.trials) == 13


# The end of the space


def test_a_budget_larger_than_the_space_ends_with_a_note(path):
    study = opened(path).run(evaluate, strategy(), evaluations=1000)
    size = small_space().size
    assert len(set(configs(study))) == len(study.trials) == size
    assert study.note == f"all {size} configs of the space were evaluated, {size} complete"
    again = opened(path).run(pytest.fail, strategy(), evaluations=1000)
    assert again.note == study.note


def test_a_sampler_that_repeats_itself_costs_nothing(path):
    class Stubborn(RandomSampler):
        """Proposes one of two configs for ever."""

        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_independent(self, study, trial, name, distribution):
            first = {"depth": 1, "a": 8, "b": 8, "c": "linear"}
            return 16 if name == "a" and trial.number % 3 else first[name]

    study = opened(path).run(evaluate, Stubborn(), evaluations=5)
    assert [t.config["a"] for t in study.trials] == [8, 16]
    assert "no new config to propose" in study.note


def test_a_sampler_that_proposes_an_illegal_config_is_named():
    class Broken(BaseSampler):
        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, name, distribution):
            return 7

    with pytest.raises(SearchError, match="Broken proposed 7 for the choice 'depth'"):
        opened().run(evaluate, Broken(), evaluations=1)


# Damage


@pytest.mark.parametrize("keep", [0.7, 0.3, 0.0003])
def test_a_truncated_file_is_told(path, keep):
    opened(path).run(evaluate, strategy(), evaluations=12)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    for attempt in (lambda: opened(path), lambda: Study.load(path)):
        with pytest.raises(StudyError, match="is damaged") as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert "restore a copy" in str(caught.value)
    assert path.read_bytes() == whole[: int(keep * len(whole))]


def test_a_file_with_a_damaged_page_is_told(path):
    opened(path).run(evaluate, strategy(), evaluations=12)
    whole = bytearray(path.read_bytes())
    for start in range(4096, len(whole), 4096):
        whole[start : start + 64] = b"\xff" * 64
    path.write_bytes(whole)
    with pytest.raises(StudyError, match="is damaged"):
        opened(path)


def test_a_file_that_is_no_database_is_told(path):
    path.parent.mkdir(parents=True)
    path.write_text("not a database, " * 100)
    with pytest.raises(StudyError, match="is damaged or was not written by supple"):
        opened(path)
    path.write_bytes(b"")
    with pytest.raises(StudyError, match="was not written by supple"):
        Study.load(path)
    opened(path)  # an empty file is what a driver killed at its very start leaves


def test_places_where_no_study_can_be(tmp_path):
    with pytest.raises(StudyError, match="there is no study file"):
        Study.load(tmp_path / "nothing.db")
    with pytest.raises(StudyError, match="is a folder"):
        opened(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot be made"):
        opened(tmp_path / "file" / "study.db")
    with pytest.raises(StudyError, match="not a database URL"):
        opened("::// what")
    assert not (tmp_path / "nothing.db").exists()


# One driver


def test_a_second_driver_is_refused_while_the_first_runs(path):
    study = opened(path)
    met = []

    def meets_the_second(config):
        for attempt in (
            lambda: opened(path),
            lambda: second.run(evaluate, strategy(), evaluations=1),
        ):
            with pytest.raises(StudyError, match=f"driven by process {os.getpid()}") as caught:
                attempt()
            met.append(str(caught.value))
        assert [t.state for t in Study.load(path).trials] == ["running"]
        return evaluate(config)

    second = opened(path)
    study.run(meets_the_second, strategy(), evaluations=1)
    assert len(met) == 2
    assert "Study.load(storage) reads the study while it runs" in met[0]
    second.run(evaluate, strategy(), evaluations=2)
    assert len(second.complete) == 2


def test_a_running_trial_of_a_live_process_is_not_taken_over(path, monkeypatch):
    """Should the lock ever fail (some network file systems), the owner in the trial tells."""

    class Killed(BaseException):
        """Leaves the trial running."""

    def die(config):
        raise Killed

    study = opened(path)
    with pytest.raises(Killed):
        study.run(die, strategy(), evaluations=1)
    # The trial is ours; let it seem to be that of our parent, which lives.
    parent = {**_lock.this_process(), "pid": os.getppid()}
    parent["start"] = _lock._start(os.getppid())
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'supple:owner'",
            (json.dumps(parent),),
        )
    connection.close()
    with pytest.raises(StudyError, match=f"evaluated by process {os.getppid()}"):
        opened(path)


def test_nothing_global_is_touched(path):
    level = optuna.logging.get_verbosity()
    state, numpy_state = random.getstate(), np.random.get_state()[1].tolist()
    opened(path).run(evaluate, strategy(), evaluations=5)
    assert optuna.logging.get_verbosity() == level
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == numpy_state


def test_a_database_server_needs_its_driver(monkeypatch):
    monkeypatch.setattr("supple.study.storage.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"psycopg://me:\*\*\*@host/db needs") as caught:
        opened("postgresql://me:secret@host/db")
    assert "secret" not in str(caught.value)
    assert "supple[postgresql]" in str(caught.value)
