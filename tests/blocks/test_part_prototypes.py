"""Part prototypes: the head in loops, its losses, and the two scores by hand."""

import math

import pytest
import torch

from supple.blocks.part_prototypes import (
    PartPrototypeHead,
    consistency_score,
    part_hits,
    prototype_loss,
    sdfa_loss,
    stability_score,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(0))


def uneven(head):
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=draws))
    return head


def in_loops(head, x):
    logits = torch.zeros(len(x), head.out_features, dtype=x.dtype)
    own = head.prototypes_per_class
    for b, image in enumerate(x):
        weight, bias = head.add_on.weight[:, :, 0, 0], head.add_on.bias
        places = image.flatten(1).T @ weight.T + bias
        places = 1 / (1 + torch.exp(-places))
        scores = torch.stack([
            max((places @ (p / p.norm())).unbind()) for p in head.prototypes.flatten(0, 1)
        ])  # fmt: skip
        for k in range(head.out_features):
            if head.aggregation == "linear":
                logits[b, k] = (head.weight[k] * scores).sum()
                continue
            share = torch.exp(head.weight[k]) / torch.exp(head.weight[k]).sum()
            logits[b, k] = (scores[k * own : (k + 1) * own] * own * share).sum()
    return logits


def make(aggregation):
    return lambda: PartPrototypeHead(6, 4, prototypes_per_class=2, dim=5, aggregation=aggregation)


CASES = {
    "aggregated": BlockCase(
        make=make("sa"), example=X, channel_dim=1, reference=in_loops,
        wrong_inputs=[torch.ones(3, 5, 4, 5), torch.ones(3, 6)],
        parameters=6 * 5 + 5 + 8 * 5 + 8, macs=20 * (6 * 5 + 8 * 5),
        elastic=("in", "inside", "out"),
    ),
    "linear": BlockCase(
        make=make("linear"), example=X, channel_dim=1, reference=in_loops,
        wrong_inputs=[torch.ones(3, 5, 4, 5)], parameters=6 * 5 + 5 + 8 * 5 + 4 * 8,
        elastic=("in", "inside", "out"),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_weights_of_a_class_are_positive_and_sum_to_their_number():
    head = uneven(make("sa")())
    ones = torch.ones(1, 4, 2, 1, 1)
    assert torch.allclose(head.logits(ones), torch.full((1, 4), 2.0))
    raised = ones.clone()
    raised[0, 1, 0] += 1
    assert (head.logits(raised) - head.logits(ones))[0].gt(0).tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_logits_do_not_see_the_order_of_prototypes():
    head = uneven(make("sa")())
    want = head(X)
    with torch.no_grad():
        head.prototypes.copy_(head.prototypes.flip(1))
        head.weight.copy_(head.weight.flip(1))
    assert torch.allclose(head(X), want, atol=1e-6)


def test_the_terms_of_the_loss_by_hand():
    head = PartPrototypeHead(2, 2, prototypes_per_class=2, dim=2)
    with torch.no_grad():
        head.prototypes.copy_(torch.tensor([[[1.0, 0], [0, 1]], [[1, 1], [1, 1]]]))
    features = torch.tensor([[[[3.0]], [[0.0]]]])  # one place, along the first prototype
    label = torch.tensor([0])

    def only(**weights):
        zero = {"cluster": 0.0, "separation": 0.0, "orthogonality": 0.0}
        return prototype_loss(head, features, label, **{**zero, **weights}).item()

    assert only(cluster=1.0) == pytest.approx(-1.0)
    assert only(separation=1.0) == pytest.approx(math.sqrt(0.5))
    assert only(orthogonality=1.0) == pytest.approx(
        2.0
    )  # the second class: two ones off the diagonal


def test_alignment_is_zero_for_equal_maps_and_moves_only_the_deep_ones():
    deep = torch.randn(2, 3, 4, 4, requires_grad=True)
    assert sdfa_loss(deep.detach(), deep.detach()).item() == 0.0
    shallow = torch.randn(2, 3, 8, 8, requires_grad=True)
    sdfa_loss(shallow, deep).backward()
    assert shallow.grad is None
    assert deep.grad.abs().sum() > 0


def test_alignment_by_hand():
    shallow = torch.randn(1, 2, 4, 6)
    deep = torch.randn(1, 3, 2, 3)
    cells = [
        shallow[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten()
        for i in range(2) for j in range(3)
    ]  # fmt: skip
    places = list(deep[0].flatten(1).T)

    def cosine(a, b):
        return (a @ b / a.norm() / b.norm()).item()

    cost = [
        [max(abs(cosine(places[i], places[j]) - cosine(cells[i], cells[j])) - 0.1, 0)
         for j in range(6)] for i in range(6)
    ]  # fmt: skip
    assert sdfa_loss(shallow, deep).item() == pytest.approx(sum(map(sum, cost)) / 36, rel=1e-4)
    picked = sdfa_loss(shallow, deep, torch.tensor([[4, 1]])).item()
    assert picked == pytest.approx((sum(cost[4]) + sum(cost[1])) / 12, rel=1e-4)
    with pytest.raises(BlockError, match="one cell"):
        sdfa_loss(torch.ones(1, 2, 5, 6), deep)


def test_scores_of_hit_tables():
    hits = torch.zeros(10, 2, 3, dtype=torch.bool)
    hits[:8, 0, 1] = True  # the first prototype hits the second part in 8 of 10 images
    hits[:5, 1, 2] = True  # the second one hits the third part in 5 …
    visible = torch.ones(10, 3, dtype=torch.bool)
    assert consistency_score(hits, visible) == 50.0
    assert consistency_score(hits, visible, threshold=0.9) == 0.0
    visible[5:, 2] = False  # … of the 5 images that show it
    assert consistency_score(hits, visible) == 100.0
    assert consistency_score(hits.flip(1), visible) == 100.0
    noisy = hits.clone()
    noisy[0, 0] = False
    assert stability_score(hits, noisy) == 95.0
    with pytest.raises(BlockError, match="visible"):
        consistency_score(hits, torch.zeros_like(visible))


def test_hits_are_parts_inside_the_box():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 2, 3] = maps[0, 1, 7, 0] = 1.0
    parts = torch.tensor([[[4.0, 5.0], [16.0, 16.0], [math.nan, math.nan]]])
    got = part_hits(maps, parts, (16, 16), half_size=3)  # strongest at about (5, 7) and (15, 0)
    assert got[0].tolist() == [[True, False, False], [False, False, False]]
    with pytest.raises(BlockError, match="larger than the image"):
        part_hits(maps, parts, (16, 16), half_size=9)
