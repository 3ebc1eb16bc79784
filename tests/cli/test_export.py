"""supple export: which file, which network."""

import json

import pytest


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ([], "RUN/small.onnx"),
        (["--format", "pt2"], "RUN/small.pt2"),
        (["-o", "a.onnx"], "a.onnx"),
        (["-o", "a.pt2", "--format", "pt2"], "a.pt2"),
        (["-o", "a", "--format", "safetensors"], "a.safetensors"),
        (["-o", "net.v2", "--format", "onnx"], "net.v2.onnx"),
    ],
)
def test_the_file_is_named_by_output_and_format(supple, job, run, words, file):
    assert supple("export", run, *words).code == 0
    assert str(job.asked["path"]) == file.replace("RUN", str(run))


def test_the_pick_is_the_runs_own_unless_bounds_are_given(supple, job, run):
    supple("export", run)
    assert job.asked["pick"] == {}
    supple("export", run, "--pick", "latency=0.5,macs=40M", "--pick", "accuracy=98%")
    assert job.asked["pick"] == {"latency": 0.5, "macs": "40M", "accuracy": 0.98}


def test_format_and_ending_that_disagree_are_an_error(supple, job, run):
    called = supple("export", run, "-o", "a.onnx", "--format", "pt2")
    assert called.code == 1
    assert "a.pt2" in called.err
    assert job.asked == {}


def test_what_the_comparison_found_is_printed(supple, job, run):
    path = str(run / "small.onnx")
    assert supple("export", run).out == f"{path} (12 bytes) equals the network.\n"
    facts = {"path": path, "format": "onnx", "files": [path], "file_bytes": 12}
    assert json.loads(supple("export", run, "--json").out) == facts


def test_a_bound_given_twice_is_wrong_usage(supple, job, run):
    called = supple("export", run, "--pick", "latency=0.5", "--pick", "latency=0.4")
    assert called.code == 2
    assert "given twice" in called.err
