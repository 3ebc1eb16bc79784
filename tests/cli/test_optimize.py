"""supple optimize: what is typed is what the job is asked."""

import json
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_defaults_ask_for_half_the_latency(supple, job):
    assert supple("optimize", "digits", "--quiet").code == 0
    asked = job.asked
    del asked["progress"]
    assert asked == {
        "task": "digits",
        "task_options": {},
        "out": Path("runs/digits"),
        "storage": None,
        "evaluations": 200,
        "strategy": "gp_ehvi",
        "seed": 0,
        "objectives": ("accuracy", "latency"),
        "pick": {"latency": 0.5},
        "backend": None,
        "threads": 1,
        "batch": None,
        "train_epochs": None,
        "finetune_epochs": None,
        "importance": None,
        "rule": None,
        "quantize": None,
        "executor": "local",
        "workers": None,
        "ray_address": None,
        "command": "supple optimize digits --quiet",
    }


def test_every_option_reaches_the_job(supple, job):
    words = (
        "optimize my_task.py:small --model resnet56 --option depth=3 --option width=2 --out here "
        "--latency 2ms --accuracy 98% --macs 0.25 --evaluations 7 --strategy linas --seed 3 "
        "--objectives accuracy,macs --storage sqlite:///a.db --train-epochs 0.5 "
        "--finetune-epochs 2 --importance fisher --rule sorted --backend torch --threads 2 "
        "--batch 16 --quantize int8 --executor ray --workers 8 --ray-address head:6379 --quiet"
    )
    assert supple(*words.split()).code == 0
    asked = job.asked
    assert asked["task"] == "my_task.py:small"
    assert asked["task_options"] == {"depth": "3", "width": "2", "model": "resnet56"}
    assert asked["pick"] == {"latency": "2ms", "accuracy": 0.98, "macs": 0.25}
    assert asked["objectives"] == ("accuracy", "macs")
    assert (asked["train_epochs"], asked["finetune_epochs"]) == (0.5, 2.0)
    assert (asked["out"], asked["storage"]) == (Path("here"), "sqlite:///a.db")
    assert (asked["strategy"], asked["rule"], asked["seed"]) == ("linas", "sorted", 3)
    assert asked["importance"] == "fisher"
    assert (asked["backend"], asked["threads"], asked["batch"]) == ("torch", 2, 16)
    assert (asked["quantize"], asked["executor"]) == ("int8", "ray")
    assert (asked["workers"], asked["ray_address"]) == (8, "head:6379")
    assert asked["command"] == f"supple {words}"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["cifar10", "--model", "resnet56"], "runs/cifar10-resnet56"),
        (["tasks/my_task.py"], "runs/my_task"),
        (["my_task.py:other"], "runs/my_task"),
    ],
)
def test_the_run_is_named_after_task_and_model(supple, job, words, folder):
    supple("optimize", *words, "--quiet")
    assert job.asked["out"] == Path(folder)


def test_the_result_goes_to_stdout_and_the_progress_to_stderr(supple, job):
    called = supple("optimize", "digits", "--json")
    assert json.loads(called.out)["pick"]["test_accuracy"] == 0.9889
    assert called.err.splitlines() == [
        "Preparing data and model: reading digits",
        "Searching sub-networks 1/60: accuracy 0.5",
        "Searching sub-networks 60/60: accuracy 0.5",
    ]
    assert supple("optimize", "digits", "--quiet").err == ""


@pytest.mark.parametrize(("status", "code"), [("interrupted", 130), ("no-candidate", 3)])
def test_how_the_run_ended_is_the_exit_code(supple, job, status, code):
    nothing = {"status": status, "pick": None, "cuts": (), "layers": ()}
    job.result = job.result.model_copy(update=nothing)
    called = supple("optimize", "digits", "--quiet")
    assert called.code == code
    assert "sub-networks" in called.out or "interrupted" in called.out
