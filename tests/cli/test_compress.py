"""``supple compress``: a recipe on a task of one's own, its files, its report, and bad input."""

import json

import pytest

pytest.importorskip("onnxruntime")

TASK = """
import torch
from torch import nn
from supple.elastic.training import Batches


def batches(seed):
    x = torch.randn(96, 8, generator=torch.Generator().manual_seed(seed))
    return Batches(x, (x[:, 0] > 0).long(), batch_size=32)


def model():
    torch.manual_seed(0)
    first, second = nn.Linear(8, 64), nn.Linear(64, 64)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(64, 2))


def example():
    return torch.zeros(2, 8)


def train():
    return batches(0)


def valid():
    return batches(1)


def test():
    return batches(2)


loss = nn.functional.cross_entropy


def metric(outputs, targets):
    return (outputs.argmax(1) == targets).double()
"""


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TASK)
    return path


def test_a_recipe_gives_file_result_and_report(supple, task, tmp_path):
    out = tmp_path / "small"
    called = supple(
        "compress", str(task), "--recipe", "prune=0.5,int8", "--out", str(out),
        "--finetune-epochs", "2", "--json", "-q",
    )  # fmt: skip
    assert called.code == 0, called.err
    data = json.loads(called.out)
    assert data["pick"]["params"] <= data["baseline"]["params"] * 0.51
    assert data["pick"]["file_bytes"] < data["baseline"]["file_bytes"] / 2
    assert data["asked"]["training"]["recipe"] == "prune=0.5,int8"
    assert json.loads((out / "recipe.json").read_text())["recipe"][0]["value"] == 0.5
    assert {"small.onnx", "result.json", "report.html", "recipe.json"} <= set(data["files"])
    shown = supple("show", str(out), "--json")
    assert json.loads(shown.out)["pick"] == data["pick"]
    assert "Search " not in supple("show", str(out)).out
    assert "prune=0.5,int8" in (out / "report.html").read_text()
    exported = supple("export", str(out))
    assert exported.code != 0
    assert "small.onnx" in exported.err


@pytest.mark.parametrize(
    ("recipe", "said"),
    [("prune=2", "removed"), ("int9", "no step"), ("bits=64", "Bits are 2 to 8"), ("", "no step")],
)
def test_bad_recipes_are_explained(supple, task, tmp_path, recipe, said):
    called = supple("compress", str(task), "--recipe", recipe, "--out", str(tmp_path / "x"))
    assert called.code != 0
    assert said in called.err
    assert not (tmp_path / "x").exists()


def test_a_search_is_not_overwritten(supple, task, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "study.db").write_bytes(b"")
    called = supple("compress", str(task), "--recipe", "int8", "--out", str(out))
    assert called.code != 0
    assert "holds a run of supple optimize" in called.err
