"""The comparison with Torch-Pruning, on a small network and made data."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from supple.elastic.training import Batches, Recipe
from supple.measure.accuracy import top1

pytest.importorskip("torch_pruning")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from _pruning_cuts import ARMS, SHAPES, cut, loss_of, neighbour, ordered, some_validation
from _pruning_jobs import JOBS, Job
from _pruning_page import verdict
from against_torch_pruning import Comparison

from supple.seeds import generator
from supple.tasks._resnet_cifar import CifarResNet


def made_task(seed: int) -> SimpleNamespace:
    """Images of two colours and a network of three blocks, drawn from one seed for all."""
    draws = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CifarResNet(blocks=1)
    x = torch.randn(96, 3, 8, 8, generator=draws)
    y = (x.mean((1, 2, 3)) > 0).long()
    train = Batches(x[:64], y[:64], batch_size=16, seed=seed)
    held = Batches(x[64:], y[64:], batch_size=16, shuffle=False)
    return SimpleNamespace(
        model=lambda: network.eval(), example=lambda: (x[:1],), metric=top1,
        train=lambda: train, valid=lambda: held, test=lambda: held,
    )  # fmt: skip


JOB = dataclasses.replace(
    JOBS["resnet56"], name="made", task=made_task, recipe=Recipe(steps=4), lrs=(0.01, 0.05),
    calibration=2, candidates=4, looks=32, batches=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def job() -> Job:
    return JOB


@pytest.fixture(scope="module")
def model(job: Job) -> nn.Module:
    return job.data.model()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_arm_keeps_at_most_the_share_and_runs(job, model, arm, shape):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = cut(job, model, arm, shape, seed=1)
    share = job.macs(network) / job.macs(model)
    assert 0.3 < share <= job.share
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    assert all(torch.equal(model.state_dict()[name], t) for name, t in before.items())


@pytest.mark.slow
def test_a_step_of_the_search_keeps_to_the_target(job, model):
    calibration = job.calibration_of(0)
    net, _ = ordered(job, model, "taylor", SHAPES[1], calibration, depths=True)
    target, draws, config = 0.5 * job.macs(model), generator(0, "test"), net.space.smallest
    seen = set()
    for _ in range(5):
        config = neighbour(job, net, config, target, draws)
        assert job.macs(net.at(config)) <= target
        seen.add(config)
    assert len(seen) > 1
    assert loss_of(job, net, config, calibration, some_validation(job)) > 0


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_ended_and_refuses_other_settings(job, tmp_path, capsys):
    calls = iter(range(100))
    first = Comparison(job, tmp_path, seeds=2, is_over=lambda: next(calls) > 6)
    assert not first.run()
    done = dict(first.steps)
    second = Comparison(job, tmp_path, seeds=2)
    assert second.steps == done
    assert second.run()
    assert all(second.steps[name] == done[name] for name in done)
    assert len([name for name in second.steps if name.startswith("seed")]) == 2 * len(ARMS)
    with pytest.raises(SystemExit, match="other settings"):
        Comparison(dataclasses.replace(job, share=0.4), tmp_path, seeds=2)


@pytest.mark.parametrize(
    ("mine", "said"),
    [((0.92, 0.93, 0.94), "ahead"), ((0.70, 0.71, 0.72), "behind"), ((0.9, 0.8, 0.9), "level")],
)
def test_the_verdict_follows_the_interval_of_the_best_arms(mine, said):
    theirs = (0.87, 0.88, 0.89)
    found = {
        "supple magnitude": [{"test": 0.1}] * 3,
        "supple searched": [{"test": one} for one in mine],
        "torch_pruning taylor": [{"test": one} for one in theirs],
    }
    text = verdict(found)
    assert f"supple is {said}" in text
    assert "supple searched against torch_pruning taylor" in text
