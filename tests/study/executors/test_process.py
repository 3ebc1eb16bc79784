"""Evaluations in worker processes: what a study promises with them, and what goes wrong."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from supple.errors import StudyError
from supple.search import strategy
from supple.study import Study
from supple.study.executors import Phases, ProcessExecutor, executor
from tests.search.conftest import DIRECTIONS, score, stages
from tests.study.evaluations import Busy, DiesFirst, pid, slow

SPACE = stages()


def opened(path=None):
    return Study.open(path, space=SPACE, directions=DIRECTIONS)


def searcher(name="nsga2", population=6):
    return strategy(name, space=SPACE, seed=3, population=population)


def run(evaluate, path=None, *, workers=2, retries=3, evaluations=14, sampler=None, **more):
    where = ProcessExecutor(workers=workers, retries=retries)
    study = opened(path)
    sampler = sampler or searcher()
    return study.run(evaluate, sampler, evaluations=evaluations, executor=where, **more)


def found(study):
    return [(t.number, t.place, t.config, dict(t.values)) for t in study.trials]


def test_workers_give_the_search_that_one_process_gives(tmp_path):
    here = opened(tmp_path / "here.db").run(score, searcher(), evaluations=14)
    one = run(score, tmp_path / "one.db", workers=1)
    three = run(slow, tmp_path / "three.db", workers=3)
    assert found(here) == found(one) == found(three)
    assert found(Study.load(tmp_path / "three.db")) == found(three)
    assert [t.place for t in three.trials] == list(range(14))


def test_a_sampler_without_batches_is_repeatable_for_a_number_of_workers():
    def tpe():
        return strategy("TPESampler", space=SPACE, seed=1, n_startup_trials=4)

    first = run(slow, sampler=tpe(), workers=2, evaluations=10)
    again = run(score, sampler=tpe(), workers=2, evaluations=10)
    assert found(first) == found(again)
    assert len({t.config for t in first.trials}) == 10


def test_evaluations_run_elsewhere_and_beside_each_other():
    study = run(pid, workers=2, evaluations=6)
    pids = {t.details["pid"] for t in study.trials}
    assert os.getpid() not in pids
    assert len(pids) <= 2

    def sleeps(config):
        time.sleep(0.5)
        return {"accuracy": 0.5, "latency": 0.5}

    events = []

    def told(event):
        events.append(time.perf_counter())

    run(sleeps, workers=3, evaluations=6, progress=told)
    assert events[5] - events[2] < 0.5 * 2  # three at a time: one round of 0.5 s, not three


def test_what_a_script_defines_is_sent_by_value(tmp_path):
    """A worker neither imports nor runs the driver's script again."""
    script = tmp_path / "search.py"
    script.write_text(
        "from supple.search import strategy\n"
        "from supple.space import Space, Width\n"
        "from supple.study import Study\n"
        "from supple.study.executors import ProcessExecutor\n"
        "half = 2\n"
        "def evaluate(config):\n"
        "    return {'loss': config['a'] / half}\n"
        "space = Space({'a': Width(options=(8, 16, 24))})\n"
        "study = Study.open(space=space, directions={'loss': 'min'})\n"
        "study.run(evaluate, strategy('random', space=space), evaluations=3,\n"
        "          executor=ProcessExecutor(workers=2))\n"
        "print(sorted(t.values['loss'] for t in study.trials))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[4.0, 8.0, 12.0]\n", 0), done.stderr


# Workers that die


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path):
    study = run(DiesFirst(tmp_path, 1), evaluations=6)
    assert found(study) == found(opened().run(score, searcher(), evaluations=6))
    assert all(t.is_complete for t in study.trials)


def test_a_config_that_kills_every_worker_fails_and_the_search_goes_on(tmp_path):
    class Kills(DiesFirst):
        def __call__(self, config):
            return super().__call__(config) if config["activation"] == "silu" else score(config)

    study = run(Kills(tmp_path, 9), retries=1, evaluations=8)
    lost = [t for t in study.trials if not t.is_complete]
    assert lost
    for trial in lost:
        assert trial.config["activation"] == "silu"
        assert trial.reason == "lost"
        assert trial.error == "the worker of this config died 2 times: SIGKILL, SIGKILL"
    assert len(study.complete) == 8


def test_workers_end_with_their_driver(tmp_path):
    """A driver that is killed cannot tell its workers; they notice, also in mid-evaluation."""
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, time\n"
        "from supple.study.executors import ProcessExecutor\n"
        "def evaluate(config):\n"
        "    with open(config['file'], 'w') as told: told.write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "pool = ProcessExecutor(workers=1).open(evaluate)\n"
        f"pool.submit(0, {{'file': {str(tmp_path / 'pid')!r}}})\n"
        "pool.next()\n"
    )
    driver = subprocess.Popen([sys.executable, str(script)])
    worker = 0
    for _ in range(600):
        if (tmp_path / "pid").exists() and (text := (tmp_path / "pid").read_text()):
            worker = int(text)
            break
        time.sleep(0.1)
    assert worker
    driver.kill()
    driver.wait()
    for _ in range(100):
        if not is_running(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on without its driver")


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Evaluations that fail


def test_what_an_evaluation_raises_is_kept_with_its_traceback():
    def fails(config):
        if config["activation"] == "silu":
            raise ValueError("no silu here")
        return score(config)

    study = run(fails, evaluations=8)
    failed = [t for t in study.trials if not t.is_complete]
    assert {t.config["activation"] for t in failed} == {"silu"}
    assert all("ValueError: no silu here" in t.error and t.reason == "raised" for t in failed)


def test_a_value_that_is_no_number_fails_its_trial():
    def nan(config):
        return {**score(config), "accuracy": float("nan") if config["activation"] == "silu" else 1}

    study = run(nan, evaluations=8)
    assert {t.reason for t in study.trials if not t.is_complete} == {"value"}


def test_an_answer_that_cannot_be_sent_fails_its_trial():
    def unsendable(config):
        return score(config), {"lock": threading.Lock()}

    with pytest.raises(StudyError, match="cannot pickle") as caught:
        run(unsendable, evaluations=6)
    assert "evaluations all failed" in str(caught.value)


def test_an_evaluation_that_cannot_be_sent_is_told_before_anything_is_stored(tmp_path):
    lock = threading.Lock()
    with pytest.raises(StudyError, match="cannot be sent to workers") as caught:
        run(lambda config: lock, tmp_path / "study.db")
    assert "local" in caught.value.hint
    assert Study.load(tmp_path / "study.db").trials == []


class Unloadable:
    def __reduce__(self):
        return sys.modules["operator"].truediv, (1, 0)


def test_an_evaluation_that_workers_cannot_load_is_told():
    with pytest.raises(StudyError, match="cannot load the evaluation") as caught:
        run(Unloadable())
    assert "ZeroDivisionError" in str(caught.value)


def test_a_success_among_failures_at_the_start_lets_the_search_go_on(tmp_path):
    """Eight at a time: the one that works is heard of after five that do not."""

    def mostly_fails(config):
        try:
            with open(tmp_path / "mark", "x"):
                time.sleep(1.0)
                return score(config)
        except FileExistsError:
            raise ValueError("busy") from None

    study = run(mostly_fails, workers=8, evaluations=1, sampler=searcher(population=8))
    assert len(study.complete) == 1
    assert not study.note


def test_failures_at_the_start_are_run_again(tmp_path):
    def broken(config):
        raise RuntimeError("out of order")

    with pytest.raises(StudyError, match="out of order"):
        run(broken, tmp_path / "study.db", workers=3)
    assert {t.state for t in Study.load(tmp_path / "study.db").trials} == {"failed"}
    study = run(score, tmp_path / "study.db")
    straight = opened().run(score, searcher(), evaluations=14)
    assert [t.config for t in in_place(study)] == [t.config for t in straight.trials]


def in_place(study):
    return sorted(study.complete, key=lambda trial: trial.place)


# Two phases


def test_what_must_run_alone_runs_in_the_driver_while_all_workers_wait(tmp_path):
    busy = Busy(tmp_path / "log")
    study = run(busy.phases(), workers=3, evaluations=12)
    working, measured = 0, 0
    for line in (tmp_path / "log").read_text().splitlines():
        what, process = line.split()
        working += {"begin": 1, "end": -1, "alone": 0}[what]
        if what == "alone":
            measured += 1
            assert working == 0
            assert int(process) == os.getpid()
    assert measured == 12
    assert all(t.details["where"] != os.getpid() for t in study.trials)
    here = opened().run(busy.phases(), searcher(), evaluations=12)
    assert found(here) == found(study)


def test_what_workers_measured_survives_the_driver(tmp_path):
    """Killed before latency is measured, the next driver does not ask the workers again."""

    class Killed(BaseException):
        """Stands for kill -9."""

    def die(config):
        raise Killed

    path, busy = tmp_path / "study.db", Busy(tmp_path / "log")
    with pytest.raises(Killed):
        run(Phases(together=busy.together, alone=die), path, evaluations=6)
    states = [t.state for t in Study.load(path).trials]
    assert states == ["running"] * 6
    done = (tmp_path / "log").read_text().count("end")
    assert done == 6
    study = run(busy.phases(), path, evaluations=6)
    assert (tmp_path / "log").read_text().count("end") == done
    straight = opened().run(score, searcher(), evaluations=6)
    assert [t.config for t in in_place(study)] == [t.config for t in straight.trials]
    assert [t.values["accuracy"] for t in in_place(study)] == [
        t.values["accuracy"] for t in straight.trials
    ]


# Ctrl-C


def test_ctrl_c_ends_the_workers_and_the_same_call_goes_on(tmp_path):
    path = tmp_path / "study.db"

    def press(event):
        if event.done == 4:
            signal.raise_signal(signal.SIGINT)

    study = run(slow, path, progress=press)
    assert study.interrupted
    assert {t.reason for t in study.trials if not t.is_complete} <= {"interrupted"}
    again = run(slow, path)
    straight = opened().run(score, searcher(), evaluations=14)
    assert [t.config for t in in_place(again)] == [t.config for t in straight.trials]
    assert len(again.complete) == 14


# By name


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "proces"}, "'process'"),
        ({"name": "local", "workers": 2}, "one config at a time"),
        ({"name": "process", "workers": 0}, "whole number from 1"),
        ({"name": "process", "address": "host:1"}, 'the executor "ray"'),
    ],
)
def test_wrong_settings_say_what_is_right(settings, says):
    with pytest.raises(StudyError) as caught:
        executor(**settings)
    assert says in str(caught.value)


def test_an_executor_goes_by_its_name():
    assert executor("process", workers=2) == ProcessExecutor(workers=2)
    assert executor(ProcessExecutor(workers=3)).count() == 3
    assert executor().count() == 1
    assert executor("process").count() == len(os.sched_getaffinity(0))
