"""Parameters are counted once, however many layers share them."""

import pytest
import torch
from torch import nn

from supple.elastic import Elastic
from supple.errors import MeasureError
from supple.measure import Parameters


def test_linear_has_weights_and_biases():
    found = Parameters().measure(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    assert found.value == 4 * 3 + 3 + 3 + 3
    assert found.low == found.high == found.value
    assert found.details["buffers"] == 3 + 3 + 1
    assert found.details["bytes"] == 4 * found.value


def test_a_shared_tensor_counts_once():
    embedding, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = embedding.weight
    assert Parameters().measure(nn.ModuleList([embedding, head])).value == 40


def test_frozen_parameters_count_but_are_not_trainable():
    layer = nn.Linear(4, 3)
    layer.weight.requires_grad_(False)
    found = Parameters().measure(layer)
    assert (found.value, found.details["trainable"]) == (15, 3)


def test_a_sub_network_has_to_be_extracted():
    net = Elastic(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (torch.ones(2, 6),))
    with pytest.raises(MeasureError, match="no nn.Module") as caught:
        Parameters().measure(net.at(net.space.smallest))
    assert "net.extract" in caught.value.hint
