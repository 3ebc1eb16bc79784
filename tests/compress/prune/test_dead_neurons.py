"""Dead neurons: closed forms."""

import pytest
import torch
from torch import nn

from supple.compress.prune import dead_neurons
from supple.errors import CompressError, DataError


def test_very_negative_biases_kill_everything_for_good():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
    for i in (0, 2):
        nn.init.constant_(model[i].bias, -1e6)
    found = dead_neurons(model, [torch.randn(8, 3)])
    assert (found.rate, found.static, found.dynamic) == (1, 1, 0)


def test_dynamic_units_are_off_for_some_inputs_only():
    model = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU())
    model[0].weight.data = torch.tensor([[1.0], [-1.0], [0.0], [2.0]])
    found = dead_neurons(model, [torch.tensor([[1.0]]), torch.tensor([[-1.0], [-3.0]])])
    # Units 0 and 3 are off for two of three inputs, unit 1 for one, unit 2 for all.
    assert found.rate == pytest.approx((2 / 3 + 1 / 3 + 1 + 2 / 3) / 4)
    assert found.static == 1 / 4
    assert found.layers == {"1": found.rate}


def test_the_model_is_left_alone_and_inplace_is_no_trouble():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True)).train()
    found = dead_neurons(model, [torch.randn(2, 1, 3, 3)])
    assert 0 < found.rate < 1
    assert model[1].inplace
    assert model.training
    assert not model[1]._forward_hooks


def test_what_does_not_fit_is_said():
    with pytest.raises(CompressError, match="no nn.ReLU"):
        dead_neurons(nn.Linear(2, 2), [torch.ones(1, 2)])
    with pytest.raises(DataError, match="without inputs"):
        dead_neurons(nn.Sequential(nn.ReLU()), [])
