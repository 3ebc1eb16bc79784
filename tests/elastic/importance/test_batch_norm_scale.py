"""Batch-norm scales against the modules' own."""

from __future__ import annotations

import torch

from supple import Elastic
from supple.elastic.importance import BatchNormScale, Magnitude
from tests.families import ALL


def test_it_is_the_mean_scale_of_the_batch_norms_along_the_axis():
    model, example = ALL["resnet18"]()
    scores = BatchNormScale().scores(Elastic(model, example)).axes
    first = model.layers[0]
    torch.testing.assert_close(
        scores["layers.0.0.conv1.width"], first[0].bn1.weight.detach().abs().double()
    )
    stream = [model.bn1, first[0].bn2, first[1].bn2]
    want = sum(norm.weight.detach().abs().double() for norm in stream) / 3
    torch.testing.assert_close(scores["conv1.width"], want)


def test_an_axis_without_a_batch_norm_is_scored_by_its_weights():
    model, example = ALL["vit"]()
    net = Elastic(model, example)
    got, want = BatchNormScale().scores(net).axes, Magnitude().scores(net).axes
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert got
