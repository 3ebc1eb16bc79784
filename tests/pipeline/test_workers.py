"""The main job with workers: the same measurements as without, wherever they are made."""

import threading
import time

import pytest
import torch

from supple.errors import StudyError
from supple.measure import Measure, Measurement
from supple.pipeline import run_task
from supple.pipeline._remote import Remote, runs_alone
from supple.study import Executor
from supple.study.executors import ProcessExecutor
from tests.pipeline.test_pipeline import job

QUICK = {"recipe": None, "finetune": None, "pick": None, "evaluations": 5, "strategy": "nsga2"}


def found(run):
    return [(t.number, t.config, t.values["accuracy"], t.values["macs"]) for t in run.study.trials]


@pytest.fixture
def short_timings(monkeypatch):
    monkeypatch.setattr("supple.pipeline._main.SEARCH_SECONDS", 0.05)
    monkeypatch.setattr("supple.pipeline._result.FINAL_SECONDS", 0.2)


def test_workers_measure_what_the_driver_measures(tmp_path, short_timings):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do: sums in another order may differ in the last bit
    try:
        objectives = {"objectives": ["accuracy", "latency"]}
        here = job(tmp_path / "here", **QUICK, **objectives)
        there = job(tmp_path / "there", **QUICK, **objectives, executor="process", workers=2)
    finally:
        torch.set_num_threads(threads)
    assert found(here) == found(there)
    for trial in there.study.trials:
        assert trial.values["latency"] > 0
        assert list(trial.details)[:1] == ["accuracy_interval"]
        assert trial.details["latency_ms"] > 0


def test_workers_measure_int8_too(tmp_path, short_timings):
    objectives = {"objectives": ["accuracy", "file_size"], "backend": "onnxruntime"}
    quick = {**QUICK, **objectives, "quantize": "int8"}
    here = job(tmp_path / "here", **quick)
    there = job(tmp_path / "there", **quick, executor=ProcessExecutor(workers=1))
    assert found(here) == found(there)
    sizes = [t.details["file_size_bytes"] for t in there.study.trials]
    assert sizes == [t.details["file_size_bytes"] for t in here.study.trials]


class Slow(Measure):
    """A measure of one's own, of time."""

    runs_alone = True

    def measure(self, network):
        return Measurement.exact(1.0, "s")


def test_a_measure_of_time_says_so():
    slow = Slow(name="slow", unit="s", direction="min")
    assert [runs_alone(o) for o in ("latency", "accuracy", slow)] == [True, False, True]


class Nowhere(Executor):
    """Workers that cannot be reached."""

    name = "nowhere"

    def check(self):
        raise StudyError("there are no workers.")

    def count(self):
        return 1

    def open(self, evaluate):
        raise AssertionError


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"executor": Nowhere()}, "there are no workers"),
        ({"executor": "proces"}, "'process'"),
        ({"workers": 2}, "one config at a time"),
        ({"storage": "postgresql+psycopg://me:secret@127.0.0.1:1/db"}, "cannot be reached"),
    ],
)
def test_what_cannot_be_reached_is_told_before_anything_is_trained(settings, says, tmp_path):
    begin = time.perf_counter()
    with pytest.raises(StudyError, match=says):
        job(tmp_path / "run", **settings)
    assert time.perf_counter() - begin < 10
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_sent_are_told(tmp_path):
    lock = threading.Lock()

    def metric(outputs, targets):
        with lock:
            return (outputs.argmax(1) == targets).float()

    with pytest.raises(StudyError, match="cannot be sent to workers") as caught:
        job(tmp_path / "run", **QUICK, metric=metric, executor="process", workers=1)
    assert "lock" in caught.value.why


def test_a_worker_keeps_what_it_made(tmp_path):
    run = job(tmp_path, **QUICK)
    remote = Remote.of(run.evaluation, ["accuracy"])
    configs = [t.config for t in run.study.trials[:2]]
    values = [remote(config)[0]["accuracy"] for config in configs]
    assert values == [t.values["accuracy"] for t in run.study.trials[:2]]
    assert remote._evaluation is not None


@pytest.mark.slow
def test_workers_run_a_task_of_a_users_file(tmp_path):
    """Its classes, and the module beside it, are nowhere that a worker would find by name."""
    (tmp_path / "beside.py").write_text("HIDDEN = 16\n")
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "import beside\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(6, beside.HIDDEN), nn.Linear(beside.HIDDEN, 2)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.a(x).relu())\n"
        "def model(): return Net()\n"
        "def example(): return torch.zeros(2, 6)\n"
        "x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))\n"
        "def train(): return [(x, (x[:, 0] > 0).long())]\n"
        "valid = train\n"
        "loss = nn.functional.cross_entropy\n"
        "def metric(outputs, targets): return (outputs.argmax(1) == targets).float()\n"
    )
    result = run_task(
        str(tmp_path / "mine.py"),
        out=tmp_path / "run",
        evaluations=4,
        strategy="random",
        objectives=("accuracy", "macs"),
        train_epochs=0,
        finetune_epochs=0,
        executor="process",
        workers=2,
    )
    assert len([t for t in result.trials if t.values]) == 4
