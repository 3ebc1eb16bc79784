"""Stability: distances, angles and barriers in closed form."""

import math

import pytest
import torch
from torch import nn

from supple.compress.mask import plain_state
from supple.compress.tickets import interpolation_barrier, weight_angle, weight_distance
from supple.errors import CompressError

A = {"w": torch.tensor([[3.0, 4.0], [1.0, 7.0]])}
B = {"w": torch.tensor([[0.0, 0.0], [1.0, 2.0]])}
TOP = {"w": torch.tensor([[True, True], [False, False]])}


def test_distance_counts_what_the_masks_keep():
    assert weight_distance(A, B, masks=TOP) == 5
    assert weight_distance(A, B, masks=TOP, relative=True) == 1
    assert weight_distance(A, A, masks=TOP) == 0
    assert weight_distance(B, A, masks=TOP, relative=True) == math.inf
    with pytest.raises(CompressError, match="'v'"):
        weight_distance(A, B, masks={"v": TOP["w"]})


def test_angles():
    scaled = {"w": 2.5 * A["w"]}
    assert weight_angle(A, scaled, masks=TOP) == pytest.approx(0, abs=1e-5)
    assert weight_angle(A, {"w": -A["w"]}, masks=TOP) == pytest.approx(180)
    turned = {"w": torch.tensor([[-4.0, 3.0], [0.0, 0.0]])}
    assert weight_angle(A, turned, masks=TOP) == pytest.approx(90)
    assert math.isnan(weight_angle(A, B, masks=TOP))


def test_barriers():
    net = nn.Linear(2, 1)
    state = plain_state(net)

    def error(model):
        return float(model.weight.detach().square().sum())

    assert interpolation_barrier(net, state, state, error) == pytest.approx(0, abs=1e-6)
    other = {name: -tensor for name, tensor in state.items()}
    # A valley between the ends: the mean of the ends is never passed.
    assert interpolation_barrier(net, state, other, error) == pytest.approx(0, abs=1e-6)
    hill = interpolation_barrier(net, state, other, lambda m: -error(m))
    assert hill == pytest.approx(error(net))
    assert torch.equal(plain_state(net)["weight"], state["weight"])
    with pytest.raises(CompressError, match="2 points"):
        interpolation_barrier(net, state, other, error, points=2)
    with pytest.raises(CompressError, match="other tensors"):
        interpolation_barrier(nn.Linear(2, 1, bias=False), state, other, error)


def test_statistics_are_renewed_at_every_point():
    net, seen = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), []
    state = plain_state(net)
    interpolation_barrier(net, state, state, lambda m: 0.0, points=5, renew=seen.append)
    assert len(seen) == 5
