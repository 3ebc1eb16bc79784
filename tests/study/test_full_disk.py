"""A disk that fills up in the middle of a search, played by a limit on the size of files."""

import json
import os
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

DRIVER = """
import json, os, resource, sys
import optuna.storages._rdb.storage as rdb

from supple.errors import StudyError
from supple.search import RandomSearch
from supple.study import Study
from tests.study.conftest import DIRECTIONS, evaluate, small_space

rdb.time.sleep = lambda seconds: None  # Optuna tries five times, with pauses
path = sys.argv[1]

def run(evaluations):
    study = Study.open(path, space=small_space(), directions=DIRECTIONS)
    strategy = RandomSearch(space=study.space, seed=0)
    return study.run(evaluate, strategy, evaluations=evaluations)

run(3)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path) + 8000, hard))
try:
    run(60)
    told = ""
except StudyError as problem:
    told = str(problem)
kept = [t.config.to_json() for t in Study.load(path).complete]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
study = run(len(kept) + 2)
after = [t.config.to_json() for t in study.complete]
states = [t.state for t in study.trials]
print(json.dumps({"told": told, "kept": kept, "after": after, "states": states}))
"""


def test_a_full_disk_is_told_and_nothing_finished_is_lost(path):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "the disk is full or failing" in found["told"]
    assert "all finished trials are kept" in found["told"]
    assert len(found["kept"]) > 3
    assert found["after"][: len(found["kept"])] == found["kept"]
    assert len(found["after"]) == len(set(found["after"])) == len(found["kept"]) + 2
    assert done.stderr == ""
