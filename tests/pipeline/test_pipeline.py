"""The main job on a task of seconds: from model to report, and what goes wrong on the way."""

import inspect
import json
import shutil

import pytest
import torch
from torch import nn

import supple
from supple.elastic.importance import Magnitude
from supple.elastic.training import Batches, Recipe
from supple.errors import (
    DataError,
    NoCandidateError,
    SearchError,
    StudyError,
    TraceError,
    TrainingError,
)
from supple.measure import Parameters
from supple.report import Result


def make_model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
        )


def make_data(seed, count=96):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return Batches(x, (x[:, 0] * x[:, 1] > 0).long(), batch_size=32, shuffle=False)


def job(out, **changes):
    settings = {
        "train": make_data(1),
        "valid": make_data(2),
        "test": make_data(3),
        "example": (torch.zeros(2, 6),),
        "objectives": ["accuracy", "macs"],
        "evaluations": 6,
        "strategy": "random",
        "recipe": Recipe(epochs=1, lr=0.05),
        "finetune": Recipe(epochs=1, lr=0.05),
        "pick": {"macs": 0.6},
        "backend": "torch",
        "out": out,
    }
    model = changes.pop("model", None) or make_model()
    return supple.optimize(model, **{**settings, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return job(tmp_path_factory.mktemp("run") / "job")


def test_the_run_leaves_study_weights_result_and_report(finished):
    names = {path.name for path in finished.out.iterdir()}
    assert {"study.db", "weights.safetensors", "result.json", "report.html", "run.json"} <= names
    assert finished.result == Result.load(finished.out)


def test_every_trial_is_measured_and_the_front_is_not_dominated(finished):
    assert len(finished.study.complete) == 6
    front = [(c.values["accuracy"], c.values["macs"]) for c in finished.front]
    for accuracy, macs in front:
        assert not any(a >= accuracy and m <= macs and (a, m) != (accuracy, macs) for a, m in front)


def test_costs_are_ratios_with_the_exact_counts_beside_them(finished):
    trial = finished.study.complete[0]
    network = finished.net.extract(trial.config)
    assert trial.details["params_count"] == Parameters().measure(network).value
    full = Parameters().measure(finished.baseline).value
    assert trial.values["params"] == pytest.approx(trial.details["params_count"] / full)


def test_the_pick_meets_its_bound_and_is_measured_beside_the_baseline(finished):
    result = finished.result
    assert result.status == "complete"
    assert result.pick.values["macs"] <= 0.6
    assert result.pick.macs < result.baseline.macs
    assert result.baseline.params == sum(p.numel() for p in finished.baseline.parameters())


def test_layers_tell_the_shapes_before_and_after(finished):
    pick = finished.pick(macs=0.6)
    shapes = {name: list(p.shape) for name, p in pick.network.named_parameters()}
    for layer in finished.result.layers:
        assert list(layer.after) == shapes[f"{layer.name}.weight"]


def test_the_same_call_measures_nothing_again(finished, tmp_path):
    before = [(t.number, dict(t.values)) for t in finished.study.trials]
    again = job(shutil.copytree(finished.out, tmp_path / "copy"))
    assert [(t.number, dict(t.values)) for t in again.study.trials] == before
    assert again.result.pick.test_accuracy == finished.result.pick.test_accuracy


def test_more_evaluations_go_on_where_the_run_ended(tmp_path):
    job(tmp_path, evaluations=3, pick=None)
    longer = job(tmp_path, evaluations=5, pick=None)
    whole = job(tmp_path / "whole", evaluations=5, pick=None)
    assert [t.config for t in longer.study.trials] == [t.config for t in whole.study.trials]


def test_the_default_search_covers_the_space_first_and_then_asks_a_model(tmp_path):
    default = inspect.signature(supple.optimize).parameters["strategy"].default
    run = job(tmp_path, evaluations=9, strategy=default, recipe=None, finetune=None, pick=None)
    configs = [trial.config for trial in run.study.complete]
    assert len(set(configs)) == 9
    # The first batch has eight; the next ones have four.
    assert {run.net.space.largest, run.net.space.smallest} <= set(configs[:8])


def test_the_model_that_was_brought_is_not_changed(tmp_path):
    model = make_model()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    job(tmp_path, model=model, evaluations=2)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_pick_is_exported_and_compared(finished, tmp_path):
    report = finished.pick(macs=0.6).export(tmp_path / "small.pt2")
    assert report.any_batch
    assert report.largest_difference <= 1e-4


def test_a_bound_nobody_meets_names_the_closest_and_still_reports(tmp_path):
    run = job(tmp_path, evaluations=2, pick={"macs": 1e-6})
    assert run.result.status == "no-candidate"
    assert run.result.pick is None
    assert "closest" in run.result.warnings[-1]
    with pytest.raises(NoCandidateError, match="closest"):
        run.pick(macs=1e-6)


def test_a_folder_of_another_run_is_left_alone(finished):
    with pytest.raises(StudyError, match="seed"):
        job(finished.out, seed=1)


def test_an_interrupted_search_reports_what_there_is(tmp_path):
    calls = []

    def stop_at_the_third(event):
        if event.stage != "search":
            return
        calls.append(event)
        if len(calls) == 3:
            raise KeyboardInterrupt

    run = job(tmp_path, progress=stop_at_the_third)
    assert run.result.status == "interrupted"
    assert len(run.study.complete) == 3
    assert (tmp_path / "report.html").exists()
    assert len(job(tmp_path).study.complete) == 6


def test_nan_loss_names_the_step(tmp_path):
    with pytest.raises(TrainingError, match="finite"):
        job(tmp_path, loss=lambda outputs, targets: outputs.sum() * float("nan"))


def test_a_metric_that_is_no_number_stops_the_search_with_its_error(tmp_path):
    with pytest.raises(StudyError, match=r"fail"):
        job(tmp_path, metric=lambda outputs, targets: "good")


@pytest.mark.parametrize("part", ["train", "valid"])
def test_an_empty_loader_is_said(tmp_path, part):
    with pytest.raises((DataError, StudyError), match=r"empty|no batch|fail"):
        job(tmp_path, **{part: []})


def test_an_unknown_objective_names_the_known(tmp_path):
    with pytest.raises(SearchError, match="latency"):
        job(tmp_path, objectives=["accuracy", "latncy"])


def test_a_model_that_is_elastic_nowhere_says_why(tmp_path):
    with pytest.raises(TraceError, match="nowhere"):
        job(tmp_path, model=nn.Sequential(nn.Linear(6, 2)))


def test_truncated_weights_are_said(tmp_path):
    job(tmp_path, evaluations=2, pick=None)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="cut short"):
        job(tmp_path, evaluations=3, pick=None)


def test_result_json_is_plain_and_complete(finished):
    data = json.loads((finished.out / "result.json").read_text())
    for network in ("baseline", "pick"):
        for figure in ("test_accuracy", "latency_ms", "macs", "params", "file_bytes"):
            assert isinstance(data[network][figure], (int, float))
    low, high = data["pick"]["latency_ratio_interval"]
    assert low <= data["pick"]["latency_ratio"] <= high


@pytest.mark.parametrize("chosen", ["magnitude", Magnitude(p=2)])
def test_indices_are_ordered_by_the_importance_that_was_asked_for(chosen, tmp_path):
    untrained = {"recipe": None, "finetune": None, "pick": None, "evaluations": 1}
    run = job(tmp_path / "a", importance=chosen, **untrained)
    scorer = chosen if isinstance(chosen, Magnitude) else Magnitude()
    scores = scorer.scores(run.net).axes
    assert len(scores) == 2
    for score in scores.values():
        assert torch.equal(score, score.sort(descending=True).values)
    with pytest.raises(StudyError, match="another importance"):
        job(tmp_path / "a", importance="random", **untrained)


def test_an_unknown_importance_is_told_before_anything_is_done(tmp_path):
    with pytest.raises(TrainingError, match="no importance scorer 'tailor'"):
        job(tmp_path / "a", importance="tailor")
    assert not (tmp_path / "a").exists()
