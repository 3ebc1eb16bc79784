"""A pruner against chance: paired, same counts, and the luckiest of many masks."""

import math

import pytest
import torch
from torch import nn

from supple.compress.mask import density, masks_of
from supple.compress.prune import Magnitude, Random, compare_to_random, lucky_masks
from supple.errors import CompressError


def build(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def test_both_arms_have_the_same_densities_start_and_seed():
    seen = []

    def train(net, seed):
        counts = {n: int(m.sum()) for n, m in masks_of(net).items()}
        seen.append((seed, counts, net[0].parametrizations.weight.original.detach().clone()))

    found = compare_to_random(
        Magnitude(), build, [0.5, 0.8], train,
        lambda net: float(net[0].weight.detach().abs().sum()), seeds=(4, 7),
    )  # fmt: skip
    for a, b in zip(seen[::2], seen[1::2], strict=True):
        assert a[:2] == b[:2]
        assert torch.equal(a[2], b[2])
    assert [s[0] for s in seen] == [4, 4, 7, 7] * 2
    for one in found:
        differences = [a - b for a, b in zip(one.pruner, one.random, strict=True)]
        assert one.gain == pytest.approx(sum(differences) / 2)
        assert one.error == pytest.approx(abs(differences[0] - differences[1]) / 2)
        assert min(differences) > 0


def test_chance_against_chance_and_one_seed():
    (one,) = compare_to_random(
        Random(), build, [0.0], lambda net, seed: None, lambda net: 1.0, seeds=(0,)
    )
    assert one.gain == 0
    assert one.error == math.inf
    with pytest.raises(CompressError, match="without seeds"):
        compare_to_random(Random(), build, [0.5], print, len, seeds=())


def test_the_luckiest_mask_has_the_lowest_loss_of_all_draws():
    def loss(net):
        return float(net[0].weight.detach().sum())

    model = build(0)
    few, many = (lucky_masks(model, 0.6, loss, trials=n, seed=2) for n in (10, 40))
    assert many.losses[:10] == few.losses
    assert min(many.losses) <= min(few.losses)
    best = sum(float(model[0].weight.detach()[m].sum()) for n, m in many.masks.items()
               if n == "0.weight")  # fmt: skip
    assert best == pytest.approx(min(many.losses), abs=1e-6)
    assert density(many.masks) == pytest.approx(0.4, abs=0.02)
    assert not masks_of(model)
    with pytest.raises(CompressError, match="0 random masks"):
        lucky_masks(model, 0.5, loss, trials=0)
