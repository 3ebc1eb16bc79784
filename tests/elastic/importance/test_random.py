"""Random scores: from the seed and the axis alone."""

from __future__ import annotations

import torch

from supple import Elastic
from supple.elastic.importance import Random
from tests.families import ALL


def test_scores_follow_from_seed_and_axis_and_are_spread_from_zero_to_one():
    net = Elastic(*ALL["vgg"]())
    first, again, other = (Random(seed=s).scores(net).axes for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first)
    names = list(first)
    assert not torch.equal(first[names[0]][:4], first[names[1]][:4])
    together = torch.cat(list(first.values()))
    assert 0 <= together.min() < 0.25 < 0.75 < together.max() < 1


def test_blocks_get_a_permutation_and_global_draws_stay_what_they_were():
    net = Elastic(*ALL["resnet_option_a"]())
    state = torch.get_rng_state()
    scores = Random(seed=4).scores(net)
    assert torch.equal(state, torch.get_rng_state())
    assert scores.blocks
    for stage in net.structure.stages:
        assert sorted(scores.blocks[stage.name]) == list(range(len(stage.blocks)))
    assert not Random(order_blocks=False).scores(net).blocks
