"""Evaluations as tasks of a Ray cluster that the tests start on this machine."""

import os
import socket
import subprocess
import sys
import time

import pytest

from supple.errors import MissingExtraError, StudyError
from supple.search import strategy
from supple.study import Study, executor
from supple.study.executors import RayExecutor
from tests.ray_cluster import cluster, needs_ray
from tests.search.conftest import DIRECTIONS, score, stages
from tests.study.evaluations import Busy, DiesFirst, pid

SPACE = stages()


def opened(path=None):
    return Study.open(path, space=SPACE, directions=DIRECTIONS)


def searcher():
    return strategy("nsga2", space=SPACE, seed=3, population=6)


def found(study):
    return [(t.number, t.place, t.config, dict(t.values)) for t in study.trials]


@pytest.fixture(scope="module")
def address():
    import ray

    settings = {"include_dashboard": False, "configure_logging": False, "log_to_driver": False}
    started = ray.init(num_cpus=2, **settings)
    yield started.address_info["gcs_address"]
    ray.shutdown()


# These start Ray, which takes many seconds.


@needs_ray
@pytest.mark.slow
def test_a_cluster_gives_the_search_that_one_process_gives(address):
    study = opened().run(score, searcher(), evaluations=14, executor=RayExecutor(address=address))
    assert found(study) == found(opened().run(score, searcher(), evaluations=14))
    where = opened().run(pid, searcher(), evaluations=6, executor=RayExecutor(workers=2))
    assert os.getpid() not in {t.details["pid"] for t in where.trials}


@needs_ray
@pytest.mark.slow
def test_ray_starts_a_task_again_whose_worker_died(address, tmp_path):
    where = RayExecutor(workers=2, retries=3)
    study = opened().run(DiesFirst(tmp_path, 1), searcher(), evaluations=6, executor=where)
    assert found(study) == found(opened().run(score, searcher(), evaluations=6))


@needs_ray
@pytest.mark.slow
def test_a_config_that_kills_every_worker_fails(address, tmp_path):
    class Kills(DiesFirst):
        def __call__(self, config):
            return super().__call__(config) if config["activation"] == "silu" else score(config)

    # A task that Ray has given to a worker that dies before it begins is one retry older.
    where = RayExecutor(workers=2, retries=3)
    study = opened().run(Kills(tmp_path, 9), searcher(), evaluations=6, executor=where)
    lost = [t for t in study.trials if not t.is_complete]
    assert {(t.reason, t.config["activation"]) for t in lost} == {("lost", "silu")}


@needs_ray
@pytest.mark.slow
def test_latency_is_measured_by_the_driver_while_the_cluster_waits(address, tmp_path):
    busy = Busy(tmp_path / "log")
    where = RayExecutor(workers=2)
    study = opened().run(busy.phases(), searcher(), evaluations=8, executor=where)
    working = 0
    for line in (tmp_path / "log").read_text().splitlines():
        what, process = line.split()
        working += {"begin": 1, "end": -1, "alone": 0}[what]
        assert what != "alone" or (working == 0 and int(process) == os.getpid())
    assert len(study.complete) == 8


@needs_ray
@pytest.mark.slow
def test_what_an_evaluation_raises_is_kept(address):
    def fails(config):
        if config["activation"] == "silu":
            raise ValueError("no silu here")
        return score(config)

    study = opened().run(fails, searcher(), evaluations=8, executor=RayExecutor(workers=2))
    failed = [t for t in study.trials if not t.is_complete]
    assert failed
    assert all("ValueError: no silu here" in t.error and t.reason == "raised" for t in failed)


class Unloadable:
    def __reduce__(self):
        import operator

        return operator.truediv, (1, 0)


@needs_ray
@pytest.mark.slow
def test_an_evaluation_that_workers_cannot_load_is_told(address):
    with pytest.raises(StudyError, match="cannot load the evaluation"):
        opened().run(Unloadable(), searcher(), evaluations=2, executor=RayExecutor(workers=2))


# These do not.


@needs_ray
def test_an_address_that_nobody_listens_at_is_told_within_ten_seconds(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        study = opened(tmp_path / "study.db").run(score, searcher(), evaluations=3)
        begin = time.perf_counter()
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(StudyError, match="no Ray to be reached") as caught:
                study.run(score, searcher(), evaluations=6, executor=RayExecutor(address=address))
            assert address in str(caught.value)
            assert "the study is kept" in caught.value.why
            with pytest.raises(StudyError, match="no Ray to be reached"):
                executor("ray", address=address).check()
        assert time.perf_counter() - begin < 10
    assert len(Study.load(tmp_path / "study.db").complete) == 3
    assert len(study.run(score, searcher(), evaluations=6).complete) == 6


CHECK = """
import sys, time
import ray
from supple.study import executor
begin = time.perf_counter()
try: executor('ray', address=sys.argv[1]).check()
except Exception as problem: print(type(problem).__name__, problem)
print(time.perf_counter() - begin)
"""


def checked(address, **environment):
    """What a check says, and its seconds: in a process that is connected to no cluster yet."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK, address],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", **environment},
    )
    assert done.returncode == 0, done.stderr
    said, _, seconds = done.stdout.strip().rpartition("\n")
    return said, float(seconds)


@needs_ray
@pytest.mark.slow
def test_something_else_at_the_address_is_told_within_ten_seconds():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        said, seconds = checked(address)
    assert said.startswith(f"StudyError there is no Ray to be reached at {address}")
    assert seconds < 10


@needs_ray
@pytest.mark.slow
def test_a_token_that_is_missing_is_told():
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a token of this test"}
    with cluster(1, **token) as address:
        said, _ = checked(address)
        assert said.startswith(f"StudyError there is no Ray to be reached at {address}")
        assert "set RAY_AUTH_MODE=token" in said
        assert checked(address, **token)[0] == ""


@needs_ray
@pytest.mark.parametrize("address", ["head", "http://head:80", "head:port"])
def test_what_is_no_address_is_told(address):
    with pytest.raises(StudyError, match="no address of a Ray cluster"):
        RayExecutor(address=address).check()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("supple.study.executors.ray.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"supple\[ray\]"):
        opened().run(score, searcher(), evaluations=1, executor=RayExecutor())
