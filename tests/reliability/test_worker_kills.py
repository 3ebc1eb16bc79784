"""kill -9 of workers and of the driver, again and again, in every place a study may be kept.

Nothing that was told to be finished may be lost, nothing may be doubled, and the search must be
the one that nobody disturbed.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time

import pytest

from supple.search import strategy
from supple.study import Study
from supple.study.executors import Phases, ProcessExecutor, RayExecutor
from supple.study.executors.process import PROGRAM
from tests.postgresql import needs_postgresql, server
from tests.ray_cluster import cluster, needs_ray
from tests.search.conftest import DIRECTIONS, score, stages
from tests.study.evaluations import latency_alone, slow, slow_accuracy

SPACE = stages()
WORKERS = 3
ENDLESS = 10**6
EVALUATIONS = {"one": slow, "two": Phases(together=slow_accuracy, alone=latency_alone)}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds processes in /proc"
)


def searcher():
    return strategy("nsga2", space=SPACE, seed=5, population=8)


def executor_for(name):
    """What evaluates; a config whose workers die often fails, and here that is not its fault."""
    if name == "process":
        return ProcessExecutor(workers=WORKERS, retries=1000)
    return RayExecutor(workers=WORKERS, retries=1000, address=name)


def drive(storage, log, phases, executor, evaluations):
    """The command that is repeated: in a process group of its own, as a shell starts it."""
    os.setsid()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # as the cluster of this test
    threading.Thread(target=end_with_the_test, daemon=True).start()
    with open(log, "a", encoding="utf-8") as told:

        def tell(event):
            told.write(json.dumps([event.message, event.values]) + "\n")
            told.flush()
            os.fsync(told.fileno())

        study = Study.open(storage, space=SPACE, directions=DIRECTIONS)
        study.run(
            EVALUATIONS[phases],
            searcher(),
            evaluations=evaluations,
            executor=executor_for(executor),
            progress=tell,
        )


def end_with_the_test():
    """So that a test that is killed leaves no search behind that goes on for ever."""
    multiprocessing.parent_process().join()
    os.killpg(os.getpid(), signal.SIGKILL)


def start(*arguments):
    """A driver, forked from a server that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.test_worker_kills"])
    process = context.Process(target=drive, args=arguments)
    process.start()
    return process


def workers_of(driver):
    """The processes that evaluate for a driver: below itself, or below this test's Ray."""
    # Not Ray's servers and agents, whose end is that of the machine.
    found, titles = [], (b"ray::IDLE", b"ray::_evaluate")
    for folder in os.listdir("/proc"):
        if not folder.isdigit():
            continue
        try:
            with open(f"/proc/{folder}/cmdline", "rb") as file:
                program = file.read().split(b"\0")
            is_worker = program[0].startswith(titles) or os.fsencode(PROGRAM) in program
            if is_worker and {driver, os.getpid()}.intersection(ancestors(int(folder))):
                found.append(int(folder))
        except OSError:
            continue
    return found


def ancestors(process):
    while process > 1:
        with open(f"/proc/{process}/stat") as stat:
            process = int(stat.read().rpartition(")")[2].split()[1])
        yield process


def killed_search(storage, log, kills, *, phases="one", executor="process", wait=0.6, seed=0):
    """Kill so often, then finish: kills of workers, of drivers, and evaluations."""
    rng = random.Random(f"{kills} {phases} {seed}")
    workers = drivers = 0
    process = start(storage, log, phases, executor, ENDLESS)
    while workers + drivers < kills:
        if rng.random() < 0.8:  # else the driver may be killed before it has begun
            wait_for_a_worker(process)
        process.join(rng.uniform(0.0, wait))
        assert process.exitcode is None
        alive = workers_of(process.pid)
        if alive and rng.random() < 0.7:
            kill(rng.choice(alive))
            workers += 1
        else:
            stop(process)
            drivers += 1
            process = start(storage, log, phases, executor, ENDLESS)
    stop(process)
    evaluations = len(Study.load(storage).complete) + 8
    process = start(storage, log, phases, executor, evaluations)
    process.join()
    assert process.exitcode == 0
    return workers, drivers, evaluations


def wait_for_a_worker(process):
    """A busy machine may take seconds to get so far."""
    give_up = time.monotonic() + 60
    while not workers_of(process.pid):
        assert process.exitcode is None
        assert time.monotonic() < give_up
        time.sleep(0.02)


def stop(process):
    kill(process.pid, group=True)
    process.join(60)
    assert process.exitcode is not None


def kill(process, group=False):
    try:
        (os.killpg if group else os.kill)(process, signal.SIGKILL)
    except ProcessLookupError:  # the driver has no group yet, or the worker is gone
        if group:
            os.kill(process, signal.SIGKILL)


def check(storage, log, evaluations):
    study = Study.load(storage)
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]

    # Nothing finished lost: what was told is there, with its values.
    complete = {f"trial {t.number}": dict(t.values) for t in study.complete}
    for message, values in told:
        assert complete[message] == values
    assert len(told) == len({message for message, _ in told})

    # Nothing doubled, nothing left running, nothing failed for being killed.
    configs = [trial.config for trial in study.complete]
    assert len(configs) == len(set(configs)) == evaluations
    assert {trial.state for trial in study.trials} <= {"complete", "failed"}
    assert {trial.reason for trial in study.trials} <= {"", "abandoned", "interrupted"}
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))

    # And it is the search that nobody disturbed.
    in_place = sorted(study.complete, key=lambda trial: trial.place)
    straight = Study.open(None, space=SPACE, directions=DIRECTIONS)
    straight.run(score, searcher(), evaluations=evaluations)
    assert [t.place for t in in_place] == list(range(evaluations))
    assert [t.config for t in in_place] == [t.config for t in straight.trials]
    for one, other in zip(in_place, straight.trials, strict=True):
        assert {name: one.values[name] for name in DIRECTIONS} == {
            name: other.values[name] for name in DIRECTIONS
        }


def test_five_kills_of_workers_and_drivers(tmp_path):
    storage, log = tmp_path / "study.db", tmp_path / "told.jsonl"
    workers, drivers, evaluations = killed_search(storage, log, 5, phases="two", wait=0.8)
    assert workers + drivers == 5
    check(storage, log, evaluations)


def kills_lose_nothing(storage, folder, executor, seed, **settings):
    """A quarter of a hundred kills; each quarter is a search of its own."""
    log = folder / "told.jsonl"
    found = killed_search(storage, log, 25, executor=executor, seed=seed, **settings)
    workers, drivers, evaluations = found
    assert min(workers, drivers) >= 2
    check(storage, log, evaluations)


@pytest.mark.slow
@pytest.mark.parametrize("phases", sorted(EVALUATIONS))
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_of_workers_and_drivers(seed, phases, tmp_path):
    kills_lose_nothing(tmp_path / "study.db", tmp_path, "process", seed, phases=phases)


@pytest.mark.slow
@needs_postgresql
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_on_a_postgresql_server(seed, tmp_path):
    with server() as running:
        url = running.database("study")
        kills_lose_nothing(url, tmp_path, "process", seed, phases="two")


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_under_ray(seed, tmp_path):
    with cluster(WORKERS) as address:
        kills_lose_nothing(tmp_path / "study.db", tmp_path, address, seed, wait=3.0)


def test_the_workers_of_a_driver_are_found():
    """The killer must not kill others, and must find what it is to kill."""
    with ProcessExecutor(workers=2).open(slow) as pool:
        for place in range(2):
            pool.submit(place, SPACE.sample(seed=place))
        pool.next()
        assert set(pool.process_ids()) <= set(workers_of(os.getpid()))
        assert os.getpid() not in workers_of(os.getpid())
    time.sleep(0.1)
    assert not workers_of(os.getpid())
