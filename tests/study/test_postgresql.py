"""A study on a real PostgreSQL server, which the tests start themselves."""

import itertools
import socket
import subprocess
import sys
import threading
import time

import optuna
import pytest
from sqlalchemy import create_engine, text

from supple.errors import StudyError
from supple.search import strategy
from supple.study import Study
from supple.study.executors import ProcessExecutor
from tests.postgresql import needs_postgresql, server
from tests.search.conftest import DIRECTIONS, score, stages
from tests.study.evaluations import slow

SPACE = stages()
NAMES = (f"study{number}" for number in itertools.count())

pytestmark = needs_postgresql


@pytest.fixture(scope="module")
def running():
    with server() as one:
        yield one


@pytest.fixture
def url(running):
    return running.database(next(NAMES))


def opened(storage=None):
    return Study.open(storage, space=SPACE, directions=DIRECTIONS, fingerprint={"task": "pg"})


def searcher():
    return strategy("nsga2", space=SPACE, seed=3, population=6)


def found(study):
    return [(t.number, t.place, t.config, dict(t.values)) for t in study.trials]


def test_a_study_is_the_same_on_a_server_and_in_memory(url):
    study = opened(url).run(slow, searcher(), evaluations=12, executor=ProcessExecutor(workers=2))
    assert found(study) == found(opened().run(score, searcher(), evaluations=12))
    again = Study.load(url)
    assert again.trials == study.trials
    assert again.space == SPACE
    assert "supple@127.0.0.1" in study.storage


def test_optuna_reads_it_as_its_own(url):
    opened(url).run(score, searcher(), evaluations=4)
    storage = optuna.storages.RDBStorage(url)
    frozen = optuna.load_study(study_name="study", storage=storage).trials
    storage.engine.dispose()
    assert [t.values for t in frozen] == [
        [t.values["accuracy"], t.values["latency"]] for t in Study.load(url).trials
    ]


def test_a_url_without_a_driver_takes_the_one_that_supple_installs(url):
    opened(url).run(score, searcher(), evaluations=2)
    assert len(Study.load(url.replace("+psycopg", "")).trials) == 2


def test_a_second_driver_is_refused_while_the_first_runs(url, monkeypatch):
    monkeypatch.setattr("supple.study._server.PATIENCE_SECONDS", 0.3)
    study, second, met = opened(url), opened(url), []

    def meets_the_second(config):
        for attempt in (
            lambda: opened(url),
            lambda: second.run(score, searcher(), evaluations=1),
        ):
            with pytest.raises(StudyError, match="being driven by a process on 127.0.0.1") as met_:
                attempt()
            met.append(met_.value)
        assert [t.state for t in Study.load(url).trials] == ["running"]  # to read it is fine
        return score(config)

    study.run(meets_the_second, searcher(), evaluations=1)
    assert len(met) == 2
    second.run(score, searcher(), evaluations=2)


def test_studies_of_other_names_have_drivers_of_their_own(url):
    def another(config):
        other = Study.open(url, name="other", space=SPACE, directions=DIRECTIONS)
        other.run(score, searcher(), evaluations=1)
        return score(config)

    opened(url).run(another, searcher(), evaluations=1)
    assert len(Study.load(url, "other").complete) == 1


def test_a_killed_driver_gives_its_lock_and_its_trials_back(url):
    program = (
        "import sys, time\n"
        "from tests.study.test_postgresql import *\n"
        "def wait(config):\n"
        "    print('evaluating', flush=True)\n"
        "    time.sleep(600)\n"
        "opened(sys.argv[1]).run(wait, searcher(), evaluations=1)\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout.readline() == "evaluating\n"
    driver.kill()
    driver.wait()
    driver.stdout.close()
    study = opened(url)
    assert [t.reason for t in study.trials or Study.load(url).trials] == ["abandoned"]
    study.run(score, searcher(), evaluations=3)
    straight = opened().run(score, searcher(), evaluations=3)
    assert [t.config for t in study.complete] == [t.config for t in straight.trials]


def test_a_server_that_restarts_loses_nothing_that_was_finished():
    with server() as one:
        url = one.database("study")
        study = opened(url)

        def restart(config):
            if len(study.complete) == 3:
                one.stop("immediate")
                one.start()
            return score(config)

        with pytest.raises(StudyError) as caught:
            study.run(restart, searcher(), evaluations=6)
        assert "repeat the command" in caught.value.hint
        kept = Study.load(url).complete
        assert len(kept) >= 3
        again = opened(url).run(score, searcher(), evaluations=6)
        straight = opened().run(score, searcher(), evaluations=6)
        assert [t.config for t in again.complete] == [t.config for t in straight.trials]


# A server that cannot be reached


@pytest.fixture
def silent():
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_server_that_is_not_there_is_told_within_ten_seconds(silent):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ports = (silent, nobody.getsockname()[1])
        for port in ports:
            begin = time.perf_counter()
            with pytest.raises(StudyError, match="cannot be reached") as caught:
                opened(f"postgresql+psycopg://me:secret@127.0.0.1:{port}/db")
            assert time.perf_counter() - begin < 10
            assert "secret" not in str(caught.value)
            assert f"127.0.0.1:{port}" in str(caught.value)


def test_a_wrong_database_or_user_is_told(url):
    with pytest.raises(StudyError, match='database "nothere" does not exist'):
        opened(url.rpartition("/")[0] + "/nothere")


def test_a_database_of_somebody_else_is_left_alone(url):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (name text)"))
    opened(url).run(score, searcher(), evaluations=1)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM accounts")).scalar() == 0
    engine.dispose()


def test_readers_see_whole_trials_while_it_runs(url):
    opened(url)
    problems, seen, is_over = [], [], threading.Event()

    def read():
        try:
            while not is_over.wait(0.02):
                study = Study.load(url)
                seen.append(len(study.complete))
                for trial in study.complete:
                    assert dict(trial.values) == score(trial.config)
        except BaseException as problem:
            problems.append(problem)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    opened(url).run(slow, searcher(), evaluations=10)
    is_over.set()
    for reader in readers:
        reader.join()
    assert not problems
    assert max(seen) > 1
