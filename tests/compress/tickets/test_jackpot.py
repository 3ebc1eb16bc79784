"""Jackpots: weights never change, counts stay, restrictions hold at their ends."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import ScoreMask, mask_overlap, plain_state
from supple.compress.tickets import Jackpot
from supple.compress.tickets.jackpot import _swap
from supple.elastic.training import Batches, Recipe
from supple.errors import CompressError

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
DATA = Batches(X, (X[:, 0] > 0).long(), batch_size=16)
RECIPE = Recipe(epochs=4, lr=0.5, weight_decay=0.0)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
        )  # fmt: skip


def search(**settings):
    return Jackpot(ratio=0.7, **settings).fit(network(), DATA, F.cross_entropy, RECIPE)


@pytest.mark.parametrize("first", ["magnitude", "random"])
@pytest.mark.parametrize("restriction", ["short", "none"])
def test_weights_are_bitwise_the_same_and_counts_stay(first, restriction):
    found = search(first=first, restriction=restriction)
    before, after = plain_state(network()), plain_state(found.network)
    for name, tensor in before.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, after[name]), name
    assert not torch.equal(before["1.running_mean"], after["1.running_mean"])
    assert all(int(m.sum()) == int(found.first[n].sum()) for n, m in found.masks.items())
    assert sum(found.swaps) > 0
    assert len(found.swaps) == found.log.steps
    assert all(p.requires_grad for p in found.network.parameters())


def test_a_random_first_mask_has_the_densities_of_the_magnitude_mask():
    model = network()
    largest = Jackpot(ratio=0.7).first_masks(model)
    drawn = Jackpot(ratio=0.7, first="random").first_masks(model, 1)
    assert all(int(drawn[n].sum()) == int(m.sum()) for n, m in largest.items())
    assert mask_overlap(largest, largest) == 1
    assert mask_overlap(drawn, largest) < 0.6


def scored(seed=0):
    draws = torch.Generator().manual_seed(seed)
    mask = torch.rand(6, 6, generator=draws) < 0.4
    return ScoreMask(mask, torch.rand(6, 6, generator=draws))


def test_swapping_all_is_taking_the_best_scores():
    part = scored()
    kept = int(part.mask.sum())
    _swap(part, 1.0)
    threshold = part.score.detach().flatten().sort(descending=True).values[kept - 1]
    assert torch.equal(part.mask, part.score.detach() >= threshold)


def test_swapping_none_changes_nothing_and_a_part_swaps_the_strongest():
    part = scored()
    before = part.mask.clone()
    assert _swap(part, 0.0) == 0
    assert torch.equal(part.mask, before)
    whole = scored()
    crossing = _swap(whole, 1.0)
    assert _swap(part, 0.5) == -(-crossing // 2)
    score = part.score.detach()
    came, went = part.mask & ~before, before & ~part.mask
    could_come, could_go = whole.mask & ~before, before & ~whole.mask
    assert score[came].min() >= score[could_come & ~came].max()
    assert score[went].max() <= score[could_go & ~went].min()


def test_settings_are_checked():
    with pytest.raises(CompressError, match="first='l1'"):
        Jackpot(first="l1")
    with pytest.raises(CompressError, match="ratio is 2"):
        Jackpot(ratio=2)
