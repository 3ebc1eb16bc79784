"""The table of recipes, on a small network and made data."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("onnxruntime")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import compress as table
from _pruning_jobs import JOBS

from tests.benchmarks.test_against_torch_pruning import made_task


def job():
    return dataclasses.replace(
        JOBS["resnet56"], options={}, lrs=(0.01,), task=made_task, calibration=2
    )


def never():
    return False


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["int8", "2:4", "Torch-Pruning, 50 % of parameters"])
def test_an_arm_gives_all_figures(tmp_path, monkeypatch, arm):
    monkeypatch.setattr(table.Latency, "compare", lambda self, a, b: _Ratio())
    one = table.Table("made", job(), tmp_path, steps=1, is_over=never)
    found = one._arm(arm)
    assert 0 <= found["test"] <= 1
    assert found["memory"] > 0
    assert found["bytes"] == next(tmp_path.glob("made.*.onnx")).stat().st_size


class _Ratio:
    network_ms, ratio, low, high, noisy = 1.0, 0.5, 0.4, 0.6, False


def test_it_goes_on_where_it_ended_and_refuses_other_settings(tmp_path, monkeypatch):
    done = []

    def arm(self, name):
        done.append(name)
        return {"test": 0.5, "valid": 0.5, "ms": 1.0, "ratio": 1.0, "interval": [1.0, 1.0],
                "noisy": False, "backend": "onnxruntime", "bytes": 10, "memory": None}  # fmt: skip

    monkeypatch.setattr(table.Table, "_arm", arm)
    looks = iter([False, False, True])
    one = table.Table("resnet20", job(), tmp_path, steps=1, is_over=lambda: next(looks))
    assert not one.run()
    assert table.Table("resnet20", job(), tmp_path, steps=1, is_over=never).run()
    assert done == ["float", *table.RECIPES, *table.OTHERS]
    with pytest.raises(SystemExit, match="other settings"):
        table.Table("resnet20", job(), tmp_path, steps=2, is_over=never)
    table.write_page(tmp_path, tmp_path / "docs")
    page = (tmp_path / "docs" / "compress.md").read_text()
    assert page.count("50.00%") == len(done)
    assert list(json.loads((tmp_path / "docs" / "compress.json").read_text())) == ["resnet20"]
