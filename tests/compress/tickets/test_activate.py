"""Activate while pruning: equal totals, only negative weights, those that moved least."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import prunable
from supple.compress.prune import Magnitude, find_masks
from supple.compress.tickets import ActivateWhilePruning, LotteryTickets, Round
from supple.elastic.training import Batches, Recipe
from supple.errors import CompressError


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4))


def now(ratio=0.3):
    end, start = network(0), network(1)
    masks = find_masks(end, Magnitude(), 0.2)
    weights = {n: w.detach() for n, w in prunable(start).items()}
    return Round(network=end, masks=masks, start=weights, ratio=ratio, loss=F.cross_entropy)


def count(masks):
    return sum(int(m.sum()) for m in masks.values())


def test_without_a_share_it_is_the_base_pruner():
    round_ = now()
    base = find_masks(round_.network, Magnitude(), 0.3, among=round_.masks)
    found = ActivateWhilePruning(share=0.0).prune_round(round_)
    assert all(torch.equal(base[n], m) for n, m in found.items())


@pytest.mark.parametrize("pick", ["moved least", "random"])
def test_the_total_is_the_round_s_and_the_rest_are_negative(pick):
    round_ = now()
    left = count(round_.masks)
    found = ActivateWhilePruning(share=0.1, pick=pick).prune_round(round_)
    assert count(found) == left - round(0.3 * left)
    gone = round(0.3 * left) - round(0.1 * left)
    base = find_masks(round_.network, Magnitude(), gone / left, among=round_.masks)
    weights = {n: w.detach() for n, w in prunable(round_.network).items()}
    more = {n: base[n] & ~found[n] for n in base}
    assert count(more) == round(0.1 * left)
    assert all((weights[n][m] < 0).all() for n, m in more.items())
    if pick == "moved least":
        moved = {n: (weights[n] - round_.start[n]).abs() for n in base}
        stays = {n: base[n] & found[n] & (weights[n] < 0) for n in base}
        worst = max(float(moved[n][m].max()) for n, m in more.items() if m.any())
        best = min(float(moved[n][m].min()) for n, m in stays.items() if m.any())
        assert worst <= best


def test_it_runs_inside_of_the_rounds_and_layers_are_never_emptied():
    x = torch.randn(32, 10)
    data = Batches(x, torch.arange(32) % 4, batch_size=8)
    search = LotteryTickets(rounds=2, ratio=0.5, pruner=ActivateWhilePruning(share=0.1))
    found = search.run(network(), data, F.cross_entropy, Recipe(epochs=1))
    assert found[2].density == pytest.approx(0.25, abs=0.01)
    with torch.no_grad():
        bare = now(0.9)
        for weight in prunable(bare.network).values():
            weight.copy_(-weight.abs())
    masks = ActivateWhilePruning(share=0.9).prune_round(bare)
    assert all(m.any() for m in masks.values())


def test_what_does_not_fit_is_said():
    with pytest.raises(CompressError, match="share of 0.5"):
        ActivateWhilePruning(share=0.5).prune_round(now())
    with pytest.raises(CompressError, match="no pick"):
        ActivateWhilePruning(pick="largest")
