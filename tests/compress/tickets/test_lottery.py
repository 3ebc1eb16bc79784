"""Tickets: exact densities, nesting, bitwise rewinding, controls, resuming."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import masked_weights, masks_of, plain_state, prunable
from supple.compress.prune import SNIP
from supple.compress.tickets import (
    LotteryTickets,
    redrawn,
    rescaled_to_norm,
    shuffled,
    small_dense,
    weight_distance,
    weight_norm,
)
from supple.elastic.training import Batches, Plain, Recipe, train
from supple.errors import CompressError, TrainingError

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()
DATA = Batches(X, Y, batch_size=16, seed=3)
RECIPE = Recipe(epochs=4, lr=0.1, momentum=0.9, weight_decay=1e-2)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(8, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(),
            nn.Linear(12, 2),
        )  # fmt: skip


def run(model=None, *, seed=0, **settings):
    keys = ("score", "folder", "rule")
    more = {k: settings.pop(k) for k in keys if k in settings}
    return LotteryTickets(**settings).run(
        model or network(), DATA, F.cross_entropy, RECIPE, seed=seed, **more
    )


def same(a, b):
    return {*a} == {*b} and all(torch.equal(a[n], b[n]) for n in a)


def test_densities_follow_the_product_and_masks_are_nested():
    found = run(rounds=4, ratio=0.3)
    total = sum(w.numel() for w in prunable(network()).values())
    for ticket in found:
        kept = sum(int(m.sum()) for m in ticket.masks.values())
        assert abs(kept - total * 0.7**ticket.round) <= ticket.round
    for before, after in itertools.pairwise(found):
        assert all((before.masks[n] | ~m).all() for n, m in after.masks.items())


def test_every_round_begins_with_the_initial_weights_bit_for_bit():
    model = network()
    state = plain_state(model)
    found = run(model, rounds=2, ratio=0.5)
    assert same(plain_state(model), state)
    for ticket in found:
        assert same(ticket.start, state)
        for name, weight in masked_weights(ticket.network(model)).items():
            expected = torch.where(ticket.masks[name], state[name], torch.zeros(()))
            assert torch.equal(weight, expected)
        trained = masked_weights(ticket.network(model, trained=True))
        assert all((trained[n][~m] == 0).all() for n, m in ticket.masks.items())


def test_the_pruned_weights_are_the_smallest_at_the_end_of_training():
    found = run(rounds=1, ratio=0.5)
    end, mask = found[0].end, found[1].masks
    kept = torch.cat([end[n].abs()[m] for n, m in mask.items()])
    gone = torch.cat([end[n].abs()[~m] for n, m in mask.items()])
    assert kept.min() >= gone.max()


def test_round_zero_is_ordinary_training():
    plain = network()
    log = train(plain, DATA, F.cross_entropy, Plain(), RECIPE, seed=0)
    ticket = run(rounds=0)[0]
    assert same(ticket.end, plain_state(plain))
    assert ticket.losses == log.losses


def test_rewinding_goes_back_to_the_step_with_its_schedule():
    early = network()
    train(early, DATA, F.cross_entropy, Plain(), RECIPE, seed=0, stop=5)
    found = run(rounds=1, ratio=0.0, rewind=5)
    assert same(found[0].start, plain_state(early))  # batch norms too
    assert same(found[1].start, plain_state(early))
    # Nothing pruned and the same order of the data: the same network again.
    assert same(found[1].end, found[0].end)
    assert weight_distance(found[0].end, found[1].end, masks=found[1].masks) == 0
    assert len(found[1].losses) == RECIPE.total_steps(4) - 5


def test_a_run_that_begins_at_a_step_is_the_rest_of_the_whole_one():
    """Without momentum the optimiser has no memory, so nothing at all may differ."""
    recipe = Recipe(epochs=4, lr=0.1, momentum=0.0)
    whole, rest = network(), network()
    train(whole, DATA, F.cross_entropy, Plain(), recipe, seed=7)
    train(rest, DATA, F.cross_entropy, Plain(), recipe, seed=7, stop=9)
    train(rest, DATA, F.cross_entropy, Plain(), recipe, seed=7, start=9)
    assert same(plain_state(whole), plain_state(rest))
    with pytest.raises(TrainingError, match="begin at step 16"):
        train(rest, DATA, F.cross_entropy, Plain(), recipe, start=16)


def test_a_stopped_search_goes_on_and_finds_the_same(tmp_path):
    whole = run(rounds=2, ratio=0.4, rewind=3, score=lambda net: float(net.training))
    calls = []

    def stop_in_round_one(net):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return float(net.training)

    with pytest.raises(KeyboardInterrupt):
        run(rounds=2, ratio=0.4, rewind=3, score=stop_in_round_one, folder=tmp_path)
    again = run(rounds=2, ratio=0.4, rewind=3, score=lambda net: float(net.training),
                folder=tmp_path)  # fmt: skip
    for a, b in zip(whole, again, strict=True):
        assert same(a.masks, b.masks)
        assert same(a.start, b.start)
        assert same(a.end, b.end)
        assert (a.losses, a.values) == (b.losses, b.values)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(CompressError, match="another search"):
        run(rounds=2, ratio=0.5, rewind=3, folder=tmp_path)
    (tmp_path / "round0.safetensors").write_bytes(b"damaged")
    with pytest.raises(CompressError, match="damaged"):
        run(rounds=2, ratio=0.4, rewind=3, folder=tmp_path)


def test_controls_keep_the_structure_or_its_densities():
    model = network()
    ticket = run(model, rounds=1, ratio=0.6)[1]
    anew = ticket.redrawn(model, 1)
    assert same(masks_of(anew), dict(ticket.masks))
    assert not same(plain_state(anew), ticket.start)
    mixed = shuffled(ticket.masks, 0)
    assert all(int(mixed[n].sum()) == int(m.sum()) for n, m in ticket.masks.items())
    assert not same(mixed, dict(ticket.masks))
    assert same(mixed, shuffled(ticket.masks, 0))
    assert same(plain_state(ticket.shuffled(model, 0)), ticket.start)


def test_redrawn_weights_follow_the_seed_and_leave_the_random_state():
    before = torch.random.get_rng_state()
    a, b, c = (plain_state(redrawn(network(), s)) for s in (0, 0, 1))
    assert same(a, b)
    assert not same(a, c)
    assert torch.equal(before, torch.random.get_rng_state())

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2, 2))

    with pytest.raises(CompressError, match="no reset_parameters"):
        redrawn(Bare(), 0)


def test_the_small_dense_network_has_at_most_as_many_parameters():
    model = network()
    small = small_dense(model, 150, X[:2], seed=0)
    count = sum(p.numel() for p in small.parameters())
    assert 120 < count <= 150
    assert small(X).shape == (64, 2)
    with pytest.raises(CompressError, match="as few as 5"):
        small_dense(model, 5, X[:2], seed=0)


@pytest.mark.parametrize("p", [1, 2])
def test_norms_are_matched(p):
    ticket = run(rounds=1, ratio=0.5)[1].network(network())
    norm = weight_norm(ticket, p=p)
    flat = torch.cat([w.flatten() for w in masked_weights(ticket).values()]).detach().double()
    assert norm == pytest.approx(float(flat.norm(p=p)))
    dense = network()
    assert weight_norm(rescaled_to_norm(dense, norm, p=p), p=p) == pytest.approx(norm, rel=1e-6)
    assert same(plain_state(dense), plain_state(network()))


def test_other_scores_and_protected_layers():
    found = run(rounds=2, ratio=0.5, pruner=SNIP(), protect=("5.*",))
    assert {*found[2].masks} == {"0.weight", "3.weight"}
    assert found[2].density == pytest.approx(0.25, abs=2 / 400)
    assert found.at_density(0.3).round == 2


def test_a_masked_model_is_searched_as_if_it_were_not():
    masked = run(rounds=1, ratio=0.5)[1].network(network())
    again = run(copy.deepcopy(masked), rounds=1, ratio=0.5)
    assert again[0].density == 1
    with pytest.raises(CompressError, match="ratio is 2"):
        LotteryTickets(ratio=2)
    with pytest.raises(CompressError, match="rounds=-1"):
        LotteryTickets(rounds=-1)
