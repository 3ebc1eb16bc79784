"""Stitching: numpy's least squares, the paper's counts, exactness of what is joined."""

import numpy as np
import pytest
import torch

from supple.compress.join import (
    StitchedNet,
    StitchingLayer,
    find_stack,
    least_squares_stitch,
    stitch_pairs,
    streams,
)
from supple.errors import CompressError, SuppleError
from tests.compress.join._models import inputs, model


def family(*widths, depth=3):
    anchors = [model(width, depth, seed=width) for width in widths]
    return anchors, [find_stack(anchor, inputs()) for anchor in anchors]


def net(*widths, depth=3, how="least squares"):
    found = StitchedNet(*family(*widths, depth=depth))
    found.initialise(inputs(60), how=how)
    return found


def test_least_squares_is_numpys():
    draws = torch.Generator().manual_seed(0)
    x, y = (torch.randn(4, 9, size, generator=draws).double() for size in (5, 7))
    weight, bias = least_squares_stitch(x, y)
    ones = np.ones((36, 1))
    expected, *_ = np.linalg.lstsq(
        np.hstack([x.reshape(36, 5).numpy(), ones]), y.reshape(36, 7).numpy(), rcond=None
    )
    np.testing.assert_allclose(weight.numpy(), expected[:-1].T, atol=1e-8)
    np.testing.assert_allclose(bias.numpy(), expected[-1], atol=1e-8)


@pytest.mark.parametrize(("depth", "count"), [(6, 16), (9, 25), (12, 34)])
def test_pairs_are_as_many_as_in_the_paper(depth, count):
    pairs = stitch_pairs(depth, depth)
    assert len(pairs) == len({p[:2] for p in pairs}) == count
    assert all(
        (abs(j - k) <= 1 and layer in (min(j, k), min(j, k) - 1)) or j == k for j, k, layer in pairs
    )


def test_unequal_depths_pair_by_relative_place():
    pairs = stitch_pairs(3, 6)
    assert all(j == k * 3 // 6 and j < k for j, k, _ in pairs)
    assert {j for j, _, _ in pairs} == {0, 1, 2}


@pytest.mark.parametrize("widths", [(8,), (4, 8), (4, 6, 8)])
def test_the_family_has_anchors_and_pairs_of_neighbours(widths):
    found = StitchedNet(*family(*widths))
    pairs = len(stitch_pairs(3, 3))
    assert len(found.space["network"].options) == len(widths) + (len(widths) - 1) * pairs


def test_a_stitch_computes_front_layer_back():
    one, x = net(4, 8), inputs()
    small, large = one.anchors
    layer = one.stitching["0-1:0"]
    flow = streams(small, one.stacks[0], x)[1]
    expected = layer(flow)
    for block in list(large.blocks)[1:]:
        expected = block(expected)
    expected = large.head(large.norm(expected))
    found = one.at({"network": "0.0-1.1"})(x)
    torch.testing.assert_close(found, expected)
    alone = one.extract({"network": "0.0-1.1"})
    assert torch.equal(alone(x), found)
    torch.nn.init.zeros_(large.head.weight)
    assert torch.equal(alone(x), found)


def test_a_model_stitched_to_its_own_copy_is_the_model():
    one = model()
    stack = find_stack(one, inputs())
    twins = StitchedNet([one, one], [stack, stack])
    twins.initialise(inputs(60))
    layer = twins.stitching["0-1:0"]
    assert isinstance(layer, StitchingLayer)
    layer.become_identity()
    x = inputs()
    assert torch.equal(twins.at({"network": "0.0-1.1"})(x), one(x))


def test_least_squares_is_nearer_than_a_random_layer():
    x = inputs(200, seed=3)
    error = {}
    for how in ("least squares", "random"):
        one = net(8, 16, how=how)
        y = one.anchors[1](x)
        stitch = one.at({"network": "0.2-1.2"})
        error[how] = float((stitch(x) - y).square().mean().detach())
    assert error["least squares"] < error["random"]


def test_a_rule_for_elastic_networks_trains_it():
    from supple.elastic.training import Batches, Recipe, SortedNet, train

    one = net(4, 8)
    before = one.stitching["0-1:0"].weight.detach().clone()
    data = Batches(inputs(64), torch.zeros(64, dtype=torch.long), batch_size=16)
    recipe = Recipe(epochs=6, lr=0.05)
    train(one, data, torch.nn.functional.cross_entropy, SortedNet(accumulate=1), recipe)
    assert not torch.equal(one.stitching["0-1:0"].weight, before)
    assert one.at({"network": "0.0-1.1"}) is one.at({"network": "0.0-1.1"})


def test_bad_input():
    anchors, stacks = family(4, 8)
    with pytest.raises(CompressError):
        StitchedNet(anchors, stacks[:1])
    found = StitchedNet(anchors, stacks)
    with pytest.raises(CompressError, match="not there yet"):
        found.at({"network": "0.0-1.1"})
    with pytest.raises(SuppleError):
        found.at({"network": "0.9-1.1"})
    with pytest.raises(CompressError, match="same examples and tokens"):
        least_squares_stitch(torch.ones(3, 2, 4), torch.ones(3, 3, 4))
