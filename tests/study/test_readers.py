"""An SQLite file with readers of its own processes, while the search that writes it goes on."""

import multiprocessing

from supple.search import strategy
from supple.study import Study
from supple.study.executors import ProcessExecutor
from tests.search.conftest import DIRECTIONS, score, stages
from tests.study.evaluations import slow

SPACE = stages()


def read(path, is_over, answers):
    """Load the study again and again; what was complete once is complete ever after."""
    looks, complete = 0, {}
    while not is_over.is_set():
        study = Study.load(path)
        now = {t.number: dict(t.values) for t in study.complete}
        assert now.items() >= complete.items()
        assert all(values == score(t.config) for t in study.complete for values in [t.values])
        complete, looks = now, looks + 1
        study.front  # noqa: B018
        is_over.wait(0.02)
    answers.put((looks, len(complete)))


def test_readers_neither_disturb_nor_see_halves(tmp_path):
    path = tmp_path / "study.db"
    study = Study.open(path, space=SPACE, directions=DIRECTIONS)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.study.evaluations", "supple.search"])
    is_over, answers = context.Event(), context.Queue()
    readers = [context.Process(target=read, args=(path, is_over, answers)) for _ in range(3)]
    for reader in readers:
        reader.start()
    nsga2 = strategy("nsga2", space=SPACE, seed=3, population=10)
    study.run(slow, nsga2, evaluations=40, executor=ProcessExecutor(workers=2))
    is_over.set()
    looks = [answers.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    assert all(count >= 1 for count, _ in looks)
    straight = Study.open(None, space=SPACE, directions=DIRECTIONS)
    straight.run(score, strategy("nsga2", space=SPACE, seed=3, population=10), evaluations=40)
    assert [t.config for t in study.complete] == [t.config for t in straight.complete]
