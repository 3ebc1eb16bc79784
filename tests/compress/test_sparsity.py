"""Scores to masks: exact counts, closed forms, patterns, and never an empty layer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune

from supple import Elastic
from supple.compress.mask import apply_masks
from supple.compress.sparsity import (
    axis_masks,
    block_masks,
    gradual_ratio,
    layer_densities,
    masks_from_scores,
    nm_masks,
)
from supple.elastic.importance import Magnitude
from supple.errors import CompressError

LENET = {"1": (300, 784), "2": (100, 300), "3": (10, 100)}


def drawn(seed=0):
    draws = torch.Generator().manual_seed(seed)
    return {n: torch.rand(s, generator=draws) for n, s in (("a", (6, 5)), ("b", (4, 6)))}


@given(ratio=st.floats(0, 1), seed=st.integers(0, 5))
def test_global_masks_keep_the_largest_scores(ratio, seed):
    scores = drawn(seed)
    masks = masks_from_scores(scores, ratio)
    flat = torch.cat([s.flatten() for s in scores.values()])
    kept = torch.cat([m.flatten() for m in masks.values()])
    assert int(kept.sum()) == max(len(flat) - round(ratio * len(flat)), 2)
    if kept.sum() > 2:  # numpy's partition gives the threshold
        threshold = np.partition(flat.numpy(), -int(kept.sum()))[-int(kept.sum())]
        assert (
            torch.equal(kept, flat >= float(threshold)) or min(map(torch.sum, masks.values())) == 1
        )


def test_the_mask_is_that_of_torch():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    scores = {f"{i}.weight": model[i].weight.abs() for i in (0, 2)}
    masks = masks_from_scores(scores, 0.7)
    pairs = [(model[0], "weight"), (model[2], "weight")]
    torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=0.7)
    for i in (0, 2):
        assert torch.equal(masks[f"{i}.weight"], model[i].weight_mask.bool())


@given(ratio=st.floats(0, 1))
def test_uniform_masks_have_the_same_share_in_every_layer(ratio):
    for mask in masks_from_scores(drawn(), ratio, scope="uniform").values():
        assert int(mask.sum()) == max(1, mask.numel() - round(ratio * mask.numel()))


def test_masks_are_nested_and_the_ratio_is_of_what_is_left():
    scores = drawn()
    first = masks_from_scores(scores, 0.2)
    again = masks_from_scores(drawn(1), 0.5, among=first)
    assert all((first[n] | ~again[n]).all() for n in first)
    left = sum(int(m.sum()) for m in first.values())
    assert sum(int(m.sum()) for m in again.values()) == left - round(left / 2)
    erk = masks_from_scores(drawn(1), 0.5, among=first, scope="erk")
    assert abs(sum(int(m.sum()) for m in erk.values()) - left / 2) <= 2


@pytest.mark.parametrize("scope", ["global", "uniform", "er", "erk"])
def test_no_layer_is_emptied(scope):
    scores = {"a": torch.rand(10, 10), "b": torch.rand(3, 3) - 5}
    for ratio in (0.95, 1.0):
        assert all(mask.any() for mask in masks_from_scores(scores, ratio, scope=scope).values())


def test_ties_are_decided_by_place():
    masks = masks_from_scores({"a": torch.ones(2, 2), "b": torch.ones(1, 2)}, 0.5)
    assert masks["a"].tolist() == [[True, True], [False, False]]
    assert masks["b"].tolist() == [[True, False]]


def test_erdos_renyi_densities():
    found = layer_densities(LENET, 0.1)
    assert [round(found[n], 3) for n in LENET] == [0.08, 0.23, 1.0]
    kept = sum(found[n] * math.prod(LENET[n]) for n in LENET)
    assert kept == pytest.approx(0.1 * sum(map(math.prod, LENET.values())))
    assert found["1"] / found["2"] == pytest.approx(
        ((300 + 784) / (300 * 784)) / ((100 + 300) / (100 * 300))
    )
    kernels = {"a": (8, 4, 3, 3), "b": (16, 8, 1, 1), "c": (64, 64, 3, 3)}
    shares = layer_densities(kernels, 0.05)
    assert shares["b"] == 1.0
    assert shares["a"] / shares["c"] == pytest.approx(((8 + 4 + 6) / 288) / ((64 + 64 + 6) / 36864))
    plain = layer_densities(kernels, 0.05, "er")
    assert plain["a"] / plain["c"] == pytest.approx((12 / 32) / (128 / 4096))
    assert layer_densities(LENET, 1.0) == dict.fromkeys(LENET, 1.0)
    assert layer_densities(LENET, 0.3, "uniform") == dict.fromkeys(LENET, 0.3)


def test_given_densities_are_kept():
    scores = drawn()
    masks = masks_from_scores(scores, 0.0, scope={"a": 0.1, "b": 0.5})
    assert [int(m.sum()) for m in masks.values()] == [3, 12]
    with pytest.raises(CompressError, match="'b' differs"):
        masks_from_scores(scores, 0.0, scope={"a": 0.1})


def test_patterns_of_n_in_m_hold_in_every_group():
    scores = {"w": torch.rand(6, 8, 3, 3)}
    mask = nm_masks(scores, 2, 4)["w"]
    groups = mask.movedim(1, -1).reshape(-1, 4)
    assert (groups.sum(1) == 2).all()
    rows = scores["w"].movedim(1, -1).reshape(-1, 4)
    assert (rows.masked_fill(~groups, 2).min(1).values
            >= rows.masked_fill(groups, -1).max(1).values).all()  # fmt: skip
    with pytest.raises(CompressError, match="no multiple of 4"):
        nm_masks({"w": torch.rand(4, 6)})
    with pytest.raises(CompressError, match="3:2"):
        nm_masks(scores, 3, 2)


def test_blocks_are_kept_or_removed_whole():
    scores = {"a": torch.rand(8, 12), "b": torch.rand(4, 2, 2, 2)}
    masks = block_masks(scores, 0.5, block=(2, 4))
    for name, mask in masks.items():
        cells = mask.flatten(1).reshape(mask.shape[0] // 2, 2, -1, 4)
        counts = cells.sum((1, 3))
        assert {*counts.flatten().tolist()} <= {0, 8}, name
    assert sum(int(m.sum()) for m in masks.values()) == 64
    with pytest.raises(CompressError, match="not made of blocks"):
        block_masks(scores, 0.5, block=(3, 4))


def test_a_structure_as_masks_computes_what_the_extracted_network_does():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 16, bias=False), nn.ReLU(), nn.Linear(16, 2)).eval()
    net = Elastic(model, (torch.ones(2, 3),))
    net.reorder(Magnitude())
    config = net.space.at_ratio(0.5)
    x = torch.randn(5, 3)
    masked = apply_masks(model, axis_masks(net, config))
    torch.testing.assert_close(masked(x), net.extract(config)(x))


def test_gradual_pruning_ends_exactly():
    assert gradual_ratio(0, begin=10, end=20, final=0.9) == 0
    assert gradual_ratio(20, begin=10, end=20, final=0.9) == 0.9
    assert gradual_ratio(15, begin=10, end=20, final=0.8, initial=0.4) == pytest.approx(
        0.8 - 0.4 * 0.5**3
    )
    steps = [gradual_ratio(s, begin=0, end=50, final=0.9) for s in range(60)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan"), "half", True, None])
def test_ratios_outside_of_0_to_1_are_refused(ratio):
    with pytest.raises(CompressError, match="the ratio is"):
        masks_from_scores(drawn(), ratio)


def test_scores_that_cannot_be_ordered_are_refused():
    with pytest.raises(CompressError, match="NaN"):
        masks_from_scores({"a": torch.tensor([[float("nan")]])}, 0.5)
    with pytest.raises(CompressError, match="no scores"):
        masks_from_scores({}, 0.5)
    with pytest.raises(CompressError, match="no way 'odd'"):
        masks_from_scores(drawn(), 0.5, scope="odd")
    with pytest.raises(CompressError, match="do not fit"):
        masks_from_scores(drawn(), 0.5, among={"a": torch.ones(6, 5) > 0})
