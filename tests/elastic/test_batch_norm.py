"""Recalibration against torch's own averaging, on modules, graphs and slices."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.elastic.batch_norm import recalibrate
from supple.errors import DataError, TrainingError

BATCHES = [(torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(i)) * 3 + 1, None)
           for i in range(4)]  # fmt: skip


def make_net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5),
            nn.Flatten(), nn.Linear(80, 4), nn.BatchNorm1d(4, affine=False),
        ).eval()  # fmt: skip


def plainly(net: nn.Module, batches: list[Any]) -> nn.Module:
    """What torch does: reset, then average with momentum=None, one layer class at a time."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        for x, _ in batches:
            net(x)
    return net.eval()


def test_modules_get_the_mean_of_the_batches_own_statistics() -> None:
    net = make_net()
    expected = plainly(net, BATCHES)
    assert recalibrate(net, BATCHES) == 2
    for (name, found), wanted in zip(net.named_buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, msg=name)


def test_the_statistics_are_unbiased_variances_by_the_formula() -> None:
    norm = nn.BatchNorm2d(3, momentum=0.3)
    recalibrate(norm, BATCHES)
    columns = [x.transpose(0, 1).reshape(3, -1) for x, _ in BATCHES]
    torch.testing.assert_close(norm.running_mean, torch.stack([c.mean(1) for c in columns]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([c.var(1) for c in columns]).mean(0))
    assert int(norm.num_batches_tracked) == 4


def test_only_as_many_batches_are_read_as_asked() -> None:
    read = []

    def loader() -> Any:
        for item in BATCHES:
            read.append(item)
            yield item

    net, expected = make_net(), plainly(make_net(), BATCHES[:2])
    recalibrate(net, loader(), batches=2)
    assert len(read) == 2
    for found, wanted in zip(net.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_captured_graph_is_served_like_the_module(decomposed: bool) -> None:
    net = make_net()
    expected = dict(plainly(net, BATCHES).named_buffers())
    program = torch.export.export(net, (BATCHES[0][0],))
    if decomposed:
        program = program.run_decompositions()
    graph = program.module()
    assert recalibrate(graph, BATCHES) == 2
    for name, found in graph.named_buffers():
        torch.testing.assert_close(found, expected[name])


def test_slices_of_shared_buffers_are_set_and_the_rest_is_left() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            for norm in (self.a, self.b):
                x = torch.ops.aten.batch_norm.default(
                    x, norm.weight[:2], norm.bias[:2], norm.running_mean[:2],
                    norm.running_var[:2], self.training, 0.1, 1e-5, False,
                )  # fmt: skip
            return x

    net = Narrow()
    batches = [(x[:, :2], None) for x, _ in BATCHES]
    assert recalibrate(net, batches) == 2
    full = plainly(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)), BATCHES)
    for norm, wanted in zip((net.a, net.b), full, strict=True):
        torch.testing.assert_close(norm.running_mean[:2], wanted.running_mean[:2])
        torch.testing.assert_close(norm.running_var[:2], wanted.running_var[:2])
        assert norm.running_mean[2] == 0
        assert norm.running_var[2] == 1


def test_a_norm_called_twice_counts_both_calls() -> None:
    net = nn.Sequential(norm := nn.BatchNorm2d(3), nn.ReLU(), norm)
    expected = plainly(net, BATCHES)
    assert recalibrate(net, BATCHES) == 1
    torch.testing.assert_close(norm.running_var, expected[0].running_var)


def test_modes_weights_and_random_state_are_as_before() -> None:
    net = make_net().train()
    net[3].eval()
    weights = {name: p.clone() for name, p in net.named_parameters()}
    before = torch.get_rng_state()
    recalibrate(net, BATCHES)
    assert torch.equal(torch.get_rng_state(), before)
    assert [m.training for m in net] == [True, True, True, False, True, True, True]
    assert all(torch.equal(p, weights[name]) for name, p in net.named_parameters())
    assert all(p.grad is None for p in net.parameters())


def test_a_network_without_batch_norm_reads_one_batch_and_changes_nothing() -> None:
    read = []

    def loader() -> Any:
        for item in BATCHES:
            read.append(item)
            yield item

    assert recalibrate(nn.Sequential(nn.Conv2d(3, 2, 3), nn.GroupNorm(1, 2)), loader()) == 0
    assert len(read) == 1


def test_norms_without_running_statistics_are_left_alone() -> None:
    assert recalibrate(nn.BatchNorm2d(3, track_running_stats=False), BATCHES) == 0


@pytest.mark.parametrize(("loader", "batches"), [([], None), (BATCHES, 0)])
def test_no_batch_is_an_error(loader: Any, batches: int | None) -> None:
    with pytest.raises(DataError, match="no batch to take batch-norm statistics from"):
        recalibrate(make_net(), loader, batches)


def test_a_batch_of_one_value_is_an_error_and_leaves_the_statistics() -> None:
    net = make_net()
    before = {name: b.clone() for name, b in net.named_buffers()}
    with pytest.raises(DataError, match="larger batches"):
        recalibrate(net, [*BATCHES, (BATCHES[0][0][:1], None)])
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())


def test_statistics_that_are_no_buffer_are_an_error() -> None:
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            keep = torch.tensor([0, 2])
            mean, var = self.norm.running_mean[keep], self.norm.running_var[keep]
            return F.batch_norm(x[:, keep], mean, var)

    with pytest.raises(TrainingError, match="no buffer of the network"):
        recalibrate(Indexed(), BATCHES)
