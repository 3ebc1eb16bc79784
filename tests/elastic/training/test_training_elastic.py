"""Rules, loop and recalibration on a real elastic network with batch norm and skippable blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.elastic import Elastic
from supple.elastic.batch_norm import recalibrate
from supple.elastic.training import (
    Batches,
    Distil,
    Plain,
    Recipe,
    TrainingProgress,
    rule_by_name,
    train,
)
from supple.errors import TrainingError


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


def make_model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Block(8), Block(8),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip


def make_elastic() -> Elastic:
    return Elastic(make_model(), (torch.zeros(2, 1, 6, 6),))


def make_data(size: int = 48) -> Batches:
    """Stripes of one of three directions, in noise."""
    draws = torch.Generator().manual_seed(0)
    y = torch.arange(size) % 3
    row, column = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    stripes = torch.stack([row % 2, column % 2, (row + column) % 2]).float()
    x = stripes[y] + 0.3 * torch.randn(size, 6, 6, generator=draws)
    return Batches(x[:, None], y, batch_size=16)


def accuracy(network: Any, data: Batches) -> float:
    with torch.no_grad():
        hits = [network(x).argmax(1) == y for x, y in data]
    return torch.cat(hits).float().mean().item()


def mean_loss(network: Any, data: Batches) -> float:
    with torch.no_grad():
        return sum(F.cross_entropy(network(x), y).item() for x, y in data)


@pytest.mark.parametrize("name", ["plain", "distil"])
def test_training_the_largest_is_training_the_module_itself(name: str) -> None:
    model, net = make_model(), make_elastic()
    teacher = make_model() if name == "distil" else None
    for network in (model, net):
        rule = rule_by_name(name)
        train(network, make_data(), F.cross_entropy, rule, Recipe(epochs=2), teacher=teacher)
    found = net.original_state()
    for key, expected in model.state_dict().items():
        torch.testing.assert_close(found[key], expected)


@pytest.mark.parametrize("name", ["sandwich", "sorted_net", "super_plus_random"])
def test_an_elastic_network_resumes_to_the_bit(name: str, tmp_path: Path) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 4:
            raise InterruptedError

    data, recipe, rule = make_data(), Recipe(epochs=3), rule_by_name(name)
    whole, parts, fresh = make_elastic(), make_elastic(), make_elastic()
    train(whole, data, F.cross_entropy, rule, recipe)
    settings: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 1}
    with pytest.raises(InterruptedError):
        train(parts, data, F.cross_entropy, rule, recipe, progress=stop, **settings)
    log = train(fresh, data, F.cross_entropy, rule, recipe, **settings)
    assert log.resumed_at == 4
    pairs = zip(whole.state_dict().items(), fresh.state_dict().values(), strict=True)
    for (key, a), b in pairs:
        assert torch.equal(a, b), key


def test_sub_networks_learn_once_their_statistics_are_taken_anew() -> None:
    net, data = make_elastic(), make_data()
    rule = rule_by_name("sorted_net")
    train(net, data, F.cross_entropy, rule, Recipe(epochs=40, lr=0.1))
    configs = [net.space.smallest, net.space.at_ratio(0.5), net.space.sample(seed=0)]
    for config in configs:
        sub = net.extract(config).eval()
        stale = mean_loss(sub, data)
        assert recalibrate(sub, data) > 0
        assert mean_loss(sub, data) < stale
        assert accuracy(sub, data) > 0.9


def test_recalibrating_an_extracted_network_leaves_the_elastic_one() -> None:
    net, data = make_elastic(), make_data()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    recalibrate(net.extract(net.space.smallest), data)
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())


def test_the_largest_is_recalibrated_as_the_module_is() -> None:
    model, net, data = make_model(), make_elastic(), make_data()
    assert recalibrate(net, data) == recalibrate(model, data) == 3
    found = net.original_state()
    for key, expected in model.state_dict().items():
        torch.testing.assert_close(found[key], expected)


def test_a_sub_network_on_shared_weights_is_not_recalibrated() -> None:
    net = make_elastic()
    with pytest.raises(TrainingError, match=r"SubNetwork has no batch-norm statistics of its own"):
        recalibrate(net.at(net.space.smallest), make_data())  # type: ignore[arg-type]


def test_an_extracted_network_is_fine_tuned_with_the_original_as_teacher() -> None:
    model, data = make_model(), make_data()
    train(model, data, F.cross_entropy, Plain(), Recipe(epochs=30, lr=0.1))
    net = Elastic(model.eval(), (torch.zeros(2, 1, 6, 6),))
    sub = net.extract(net.space.at_ratio(0.5))
    mode = sub.training
    train(sub, data, F.cross_entropy, Distil(), Recipe(epochs=30, lr=0.1), teacher=model)
    assert sub.training == mode
    assert accuracy(sub.eval(), data) > 0.9
