"""kill -9 of the driver's whole process group, or Ctrl-C, at random moments, again and again.

Nothing that was told to be finished may be lost, nothing may be doubled, and the search must be
the one that was never killed.
"""

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys

import pytest

from supple.search import strategy
from supple.study import Study
from tests.search.conftest import DIRECTIONS, score, stages

SPACE = stages()
SETTINGS = {
    "random": {"population": 8},
    "nsga2": {"population": 8},
    "linas": {"population": 8, "inner_evaluations": 300, "inner_population": 30},
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are of Unix")


def searcher(name):
    return strategy(name, space=SPACE, seed=5, **SETTINGS[name])


def drive(path, log, name, evaluations):
    """The command that is repeated: in a process group of its own, as a shell starts it."""
    os.setsid()
    with open(log, "a", encoding="utf-8") as told:

        def tell(event):
            told.write(json.dumps([event.message, event.values]) + "\n")
            told.flush()
            os.fsync(told.fileno())

        study = Study.open(path, space=SPACE, directions=DIRECTIONS, fingerprint={"task": "kill"})
        study.run(score, searcher(name), evaluations=evaluations, progress=tell)


def start(*arguments):
    """A driver, forked from a server that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.test_kill"])
    process = context.Process(target=drive, args=arguments)
    process.start()
    return process


def stop(process, how):
    """End its whole group, or itself if it has not made one yet."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        os.kill(process.pid, how)
    process.join(120)
    assert process.exitcode is not None, "it does not end"


def stopped_search(folder, name, stops, evaluations, longest_seconds, how=signal.SIGKILL):
    """How often a driver was stopped before the search was complete, and where it is stored."""
    path, log = folder / "study.db", folder / "told.jsonl"
    moments = random.Random(name)
    done = 0
    for _ in range(stops):
        process = start(path, log, name, evaluations)
        process.join(moments.uniform(0.0, longest_seconds))
        if process.exitcode is None:
            stop(process, how)
            done += 1
    last = start(path, log, name, evaluations)
    last.join()
    assert last.exitcode == 0
    return done, path, log


def check(path, log, name, evaluations):
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    study = Study.load(path)
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]

    # Nothing finished lost: what was told is there, with its values.
    complete = {f"trial {t.number}": dict(t.values) for t in study.complete}
    for message, values in told:
        assert complete[message] == values
    assert len(told) == len({message for message, _ in told})

    # Nothing doubled, nothing left running.
    configs = [trial.config for trial in study.complete]
    assert len(configs) == len(set(configs)) == evaluations
    assert {trial.state for trial in study.trials} <= {"complete", "failed"}
    assert {trial.reason for trial in study.trials} <= {"", "abandoned", "interrupted"}
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))

    # And it is the search that was never killed.
    straight = Study.open(None, space=SPACE, directions=DIRECTIONS)
    straight.run(score, searcher(name), evaluations=evaluations)
    assert configs == [trial.config for trial in straight.trials]
    assert [dict(t.values) for t in study.complete] == [dict(t.values) for t in straight.trials]


def test_five_kills_lose_and_double_nothing(tmp_path):
    killed, path, log = stopped_search(tmp_path, "linas", 5, 30, 1.0)
    assert killed >= 3
    check(path, log, "linas", 30)


@pytest.mark.slow
def test_twenty_interrupts_lose_and_double_nothing(tmp_path):
    done, path, log = stopped_search(tmp_path, "nsga2", 20, 200, 1.0, signal.SIGINT)
    assert done == 20
    check(path, log, "nsga2", 200)
    assert {trial.reason for trial in Study.load(path).trials} <= {"", "interrupted"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_fifty_kills_lose_and_double_nothing(name, tmp_path):
    evaluations = 200 if name == "linas" else 400  # it thinks longer
    killed, path, log = stopped_search(tmp_path, name, 50, evaluations, 1.0)
    assert killed == 50
    check(path, log, name, evaluations)
