"""What every scorer promises: dead units come last, nothing is changed, axes become comparable."""

from __future__ import annotations

import pytest
import torch

from supple import Elastic
from supple.elastic import Elasticity
from supple.elastic.importance import normalised, scorer, scorer_names, scorer_settings
from supple.errors import DataError, TrainingError
from tests.elastic.oracles import doubled, scalar, zeroed
from tests.families import ALL

FINE = Elasticity(multiple_of=1)


def loss(outputs, _):
    return scalar(outputs)


def given(name, example):
    return scorer(name, batches=[(example, torch.zeros(2))], loss=loss)


def planted(family):
    """A model half of whose units are dead, by axis, and which are alive."""
    model, example = ALL[family]()
    model, example = doubled(model), doubled(example)
    net = Elastic(model, example, FINE)
    draws = torch.Generator().manual_seed(5)
    gone = {}
    for axis in net.structure.axes:
        if axis.name in net.space:
            gone[axis.name] = torch.ones(axis.size, dtype=torch.bool)
            gone[axis.name][torch.randperm(axis.size, generator=draws)[: (axis.size + 1) // 2]] = (
                False
            )
    return zeroed(net, model, gone), example, gone


@pytest.mark.parametrize("family", ["resnet18", "densenet", "vit", "gated_linear"])
@pytest.mark.parametrize("name", [n for n in scorer_names() if n != "random"])
def test_units_that_are_planted_dead_come_last(name, family):
    model, example, gone = planted(family)
    net = Elastic(model, example, FINE)
    scores = given(name, example).scores(net).axes
    told_apart = 0
    for axis, dead in gone.items():
        assert not scores[axis][dead].any()
        assert scores[axis].min() >= 0
        # A live unit may score zero too, where a ReLU lets nothing through on this example.
        told_apart += bool(scores[axis][~dead].min() > 0)
    assert told_apart >= len(gone) / 2


@pytest.mark.parametrize("name", scorer_names())
def test_scoring_leaves_network_and_generators_as_they_were(name):
    model, example = ALL["resnet18"]()
    net = Elastic(model, example).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    first = given(name, example).scores(net)
    assert net.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    again = given(name, example).scores(net)
    assert first.blocks == again.blocks
    assert all(torch.equal(first.axes[axis], again.axes[axis]) for axis in first.axes)
    assert {axis.name for axis in net.structure.axes} == set(first.axes)
    net.reorder(given(name, example))


@pytest.mark.parametrize("name", scorer_names())
@pytest.mark.parametrize("how", ["mean", "max", "standard"])
def test_normalised_axes_are_on_one_scale_and_keep_their_order(name, how):
    model, example = ALL["mlp"]()
    net = Elastic(model, example)
    plain = given(name, example).scores(net).axes
    batches = [(example, torch.zeros(2))]
    scaled = scorer(name, batches=batches, loss=loss, normalise=how).scores(net).axes
    for axis, score in scaled.items():
        assert torch.equal(score.argsort(stable=True), plain[axis].argsort(stable=True))
        size = {
            "mean": score.abs().mean(),
            "max": score.abs().max(),
            "standard": score.std(correction=0),
        }
        assert size[how].item() == pytest.approx(1)
        assert how != "standard" or score.mean().item() == pytest.approx(0, abs=1e-6)


def test_scores_that_are_all_alike_have_no_scale():
    alike, nothing = torch.full((4,), 0.3).double(), torch.zeros(3).double()
    scores = {"a": alike, "b": nothing}
    assert not normalised(scores, "standard")["a"].abs().gt(1e-6).any()
    assert all(not normalised(scores, how)["b"].any() for how in ("mean", "max", "standard"))
    assert normalised(scores, "none")["a"] is alike


def test_a_scorer_that_needs_data_says_so_and_takes_it_by_name():
    with pytest.raises(DataError, match="'taylor' got no batches and no loss"):
        scorer("taylor")
    with pytest.raises(DataError, match="'activation' got no batches"):
        scorer("activation")
    with pytest.raises(DataError, match="calibration data is empty"):
        scorer("fisher", batches=[], loss=loss).scores(Elastic(*ALL["mlp"]()))
    assert scorer("Batch-Norm-Scale", batches=[], loss=loss).name == "batch_norm_scale"


def test_unknown_scorers_and_settings_name_the_near_miss():
    with pytest.raises(TrainingError, match="no importance scorer 'tailor'") as caught:
        scorer("tailor")
    assert "'taylor'" in caught.value.hint
    with pytest.raises(TrainingError, match="no setting 'q'"):
        scorer("magnitude", q=2)
    with pytest.raises(TrainingError, match="called 'meen'") as caught:
        scorer("magnitude", normalise="meen")
    assert "'mean'" in caught.value.hint


def test_settings_are_plain_data_without_the_batches():
    made = scorer("hessian", batches=[(1, 2)], loss=loss, seed=3, probes=2)
    assert scorer_settings(made) == {
        "name": "hessian",
        "probes": 2,
        "seed": 3,
        "order_blocks": True,
        "block_batches": 2,
        "normalise": "none",
    }
    assert scorer_settings("fisher") == {"name": "fisher"}
