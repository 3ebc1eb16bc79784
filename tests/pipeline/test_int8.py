"""The main job with int8 as a choice for every layer."""

import json

import onnx
import pytest
import torch
from torch import nn

from supple.errors import SearchError, StudyError
from supple.measure import Accuracy, FileSize, MACs
from supple.report import Result
from tests.pipeline.test_pipeline import job, make_data

INT8 = {
    "backend": "onnxruntime",
    "quantize": "int8",
    "objectives": ["accuracy", "latency", "file_size"],
    "strategy": "nsga2",
    "evaluations": 6,
    "pick": {"file_size": 0.6},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # timings for a test, not for a result
        patch.setattr("supple.pipeline._main.SEARCH_SECONDS", 0.05)
        patch.setattr("supple.pipeline._result.FINAL_SECONDS", 0.2)
        return job(tmp_path_factory.mktemp("run") / "job", model=wide_model(), **INT8)


def wide_model():
    """So wide that weights, and not names and scales, are most of its file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)
        )


def test_bits_are_choices_beside_widths(finished):
    kinds = {choice.kind for choice in finished.space.values()}
    assert kinds == {"width", "bits"}
    assert [n for n, c in finished.space.items() if c.kind == "bits"] == [
        "0.bits",
        "2.bits",
        "4.bits",
    ]
    assert finished.result.space_size == finished.net.space.size * 2**3


def test_the_whole_network_in_floats_and_in_int8_are_measured_in_the_same_run(finished):
    first, second = finished.study.complete[:2]
    assert first.config == finished.space.largest
    assert {first.config[f"{layer}.bits"] for layer in (0, 2, 4)} == {32}
    assert {second.config[f"{layer}.bits"] for layer in (0, 2, 4)} == {8}
    assert first.values["file_size"] == pytest.approx(1, abs=0.05)  # names in the file differ
    assert second.values["file_size"] < 0.5
    assert second.values["macs"] == 1


def test_what_is_measured_is_the_quantized_network(finished):
    trial = finished.study.complete[1]
    evaluation = finished.evaluation
    deployed = evaluation.deployed(evaluation.network(trial.config), trial.config)
    assert deployed.int8_layers == ("0", "2", "4")
    kinds = [node.op_type for node in onnx.load_model_from_string(deployed.onnx_model).graph.node]
    assert kinds.count("DequantizeLinear") > 3
    accuracy = Accuracy(loader=make_data(2)).measure(deployed).value
    assert trial.values["accuracy"] == accuracy
    size = FileSize().measure(deployed).value
    assert trial.details["file_size_bytes"] == size == len(deployed.onnx_model)


def test_the_result_says_which_layers_are_int8(finished):
    pick = finished.pick(**INT8["pick"])
    result = Result.load(finished.out)
    bits = {cut.name: cut.kept for cut in result.cuts if cut.kind == "bits"}
    int8 = [name for name, kept in bits.items() if kept == 8]
    assert int8 == [f"{layer}.bits" for layer in pick.deployed.int8_layers]
    assert result.asked.training["quantize"]["layers"] == "int8"
    assert result.pick.file_bytes == len(pick.deployed.onnx_model)
    assert result.pick.macs == MACs(example=(torch.zeros(2, 6),)).measure(pick.network).value
    report = (finished.out / "report.html").read_text()
    assert "0.bits" in report


def test_the_pick_is_exported_as_it_was_measured(finished, tmp_path):
    pick = finished.pick(**INT8["pick"])
    report = pick.export(tmp_path / "small.onnx")
    assert report.largest_difference == 0
    assert report.batches == (2, 3, 6)
    notes = {p.key: p.value for p in onnx.load(tmp_path / "small.onnx").metadata_props}
    stored = json.loads(notes["supple"])
    assert stored["config"] == dict(pick.config)
    assert stored["int8_layers"] == list(pick.deployed.int8_layers)
    with pytest.raises(Exception, match="small.onnx"):
        pick.export(tmp_path / "small.pt2")
    assert not (tmp_path / "small.pt2").exists()


def test_a_run_without_int8_does_not_go_on_with_it(finished):
    with pytest.raises(StudyError, match="quantize"):
        job(finished.out, model=wide_model(), **{**INT8, "quantize": None})


def test_int8_needs_onnx_runtime(tmp_path):
    with pytest.raises(SearchError, match="backend 'torch'"):
        job(tmp_path / "a", **{**INT8, "backend": "torch"})
    with pytest.raises(SearchError, match="int8"):
        job(tmp_path / "a", **{**INT8, "quantize": "int4"})
    assert not (tmp_path / "a").exists()
