"""Dynamic sparse training: constant counts, what moves, schedules, resuming."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.compress.mask import apply_masks, density, full_masks, mask_parts, masks_of, prunable
from supple.compress.prune import SET, DynamicSparse, Gradual, RigL, prune
from supple.compress.prune._hebbian import correlation, correlations
from supple.compress.report import sparsity_report
from supple.compress.sparsity import gradual_ratio
from supple.elastic.training import Batches, Recipe, StepContext, train
from supple.errors import CompressError

X = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
RULES = [
    SET(every=4), RigL(every=4, stop=30), DynamicSparse(drop="hebbian", grow="hebbian", every=4),
    DynamicSparse(drop="random", grow="random", every=4),
]  # fmt: skip


def sparse(seed=0, ratio=0.75):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    return prune(model, ratio, method="random", scope="erk", seed=seed).network


def context(step=0, seed=0):
    return StepContext(rng=np.random.default_rng(seed), loss=F.cross_entropy, step=step)


def run(net, rule, **more):
    batches = Batches(X, Y, batch_size=16)
    return train(net, batches, F.cross_entropy, rule, Recipe(epochs=10, lr=0.1), **more)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.drop}-{rule.grow}")
def test_counts_of_every_layer_stay_and_what_grows_was_absent(rule):
    net = sparse()
    before = masks_of(net)
    rule.update(net, (X[:16], Y[:16]), context(4))
    after = masks_of(net)
    fraction = rule.fraction_at(4)
    for name, mask in before.items():
        grown, gone = after[name] & ~mask, mask & ~after[name]
        on = int(mask.sum())
        expected = min(round(fraction * on), int((~mask).sum()), on - 1)
        assert int(grown.sum()) == int(gone.sum()) == expected
        stored = prunable(net)[name]
        assert (stored[grown] == 0).all()
        assert (stored[gone] == 0).all()
    state = masks_of(net)
    run(net, rule)
    assert all(int(masks_of(net)[n].sum()) == int(m.sum()) for n, m in state.items())
    assert sparsity_report(net).explored > density(before)


def test_the_smallest_weights_go_and_the_largest_gradients_come():
    net = sparse()
    weight = prunable(net)["0.weight"].detach().clone()
    before = masks_of(net)["0.weight"]
    RigL(every=1, fraction=0.3).update(net, (X, Y), context(1))
    after = masks_of(net)["0.weight"]
    gone, stays = before & ~after, before & after
    assert weight[gone].abs().max() <= weight[stays].abs().min()
    # The gradient at the masked weights, absent ones too, by hand.
    plain = sparse()
    dense = (plain[0].weight.detach().clone()).requires_grad_()
    hidden = F.linear(X, dense, plain[0].bias).relu()
    F.cross_entropy(plain[2](hidden), Y).backward()
    grown, absent = after & ~before, ~before & ~after
    assert dense.grad[grown].abs().min() >= dense.grad[absent].abs().max()


def test_the_fraction_ends_at_zero_and_nothing_moves_after():
    rule = RigL(stop=10, every=1, fraction=0.5)
    assert rule.fraction_at(0) == 0.5
    assert rule.fraction_at(5) == pytest.approx(0.25)
    assert rule.fraction_at(10) == rule.fraction_at(11) == 0
    net = sparse()
    before = masks_of(net)
    list(rule(net, (X, Y), context(20)))
    assert all(torch.equal(before[n], m) for n, m in masks_of(net).items())
    assert sparsity_report(net).explored == pytest.approx(density(before))


def test_a_run_that_is_resumed_has_the_same_masks(tmp_path):
    whole, parts = sparse(), sparse()
    rule = SET(every=3)
    run(whole, rule)
    path = tmp_path / "run.safetensors"
    run(parts, rule, checkpoint=path, stop=13)
    parts = sparse(seed=1)
    run(parts, rule, checkpoint=path)
    for name, mask in masks_of(whole).items():
        assert torch.equal(mask, masks_of(parts)[name])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(),
                                                 strict=True))  # fmt: skip


def test_the_hebbian_score_is_the_correlation():
    a = np.random.default_rng(0).standard_normal((20, 4))
    b = np.random.default_rng(1).standard_normal((20, 3))
    a[:, 2] = 1.0
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(a.T, b.T)[4:, :4])
    found = correlation(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    net = sparse()
    scores = correlations(net, X, ["2.weight"])["2.weight"]
    hidden = net[1](net[0](X)).detach()
    torch.testing.assert_close(scores, correlation(hidden, net[2](hidden).detach()))
    with pytest.raises(CompressError, match="Conv2d"):
        correlations(nn.Sequential(nn.Conv2d(1, 1, 1)), X, ["0.weight"])


def test_gradual_pruning_follows_its_schedule_exactly():
    net = sparse(ratio=0.0)
    apply_masks(net, full_masks(net))
    rule = Gradual(ratio=0.9, begin=5, end=30, every=10)
    total = sum(w.numel() for w in prunable(net).values())
    seen = {}

    def watch(now):
        seen[now.step] = sum(int(p.mask.sum()) for p in mask_parts(net).values())

    run(net, rule, progress=watch)
    for step, pruned_at in ((5, None), (6, 5), (15, 5), (16, 15), (26, 25), (30, 25), (31, 30)):
        ratio = 0 if pruned_at is None else gradual_ratio(pruned_at, begin=5, end=30, final=0.9)
        assert seen[step] == total - round(ratio * total), step
    assert seen[40] == total - round(0.9 * total)


def test_reactivated_weights_compete_again():
    net = nn.Linear(4, 1)
    apply_masks(net, {"weight": torch.tensor([[True, True, False, False]])})
    with torch.no_grad():
        net.parametrizations.weight.original.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    Gradual(ratio=0.5, end=1).prune(net, 1)
    assert masks_of(net)["weight"].tolist() == [[True, True, False, False]]
    Gradual(ratio=0.5, end=1, reactivates=True).prune(net, 1)
    assert masks_of(net)["weight"].tolist() == [[False, False, True, True]]


def test_what_does_not_fit_is_said():
    with pytest.raises(CompressError, match="without masks"):
        SET().update(nn.Linear(2, 2), (X[:, :2], Y), context())
    with pytest.raises(CompressError, match="fraction is 2"):
        SET(fraction=2)
    with pytest.raises(CompressError, match="grow='gradients'"):
        DynamicSparse(grow="gradients")
    with pytest.raises(CompressError, match="every 0 steps"):
        RigL(every=0)
    with pytest.raises(CompressError, match="begin=5, end=3"):
        Gradual(ratio=0.5, begin=5, end=3)
