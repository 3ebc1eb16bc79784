"""Multi-output heads and their loss against loops over samples and heads."""

import math

import pytest
import torch
from torch import nn

from supple.blocks.multi_output import (
    MultiOutputHead,
    best_of_heads_loss,
    combined_answers,
    head_usage,
    oracle_metric,
    single_head_metric,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(block, x):
    answers = [block.select(i).to(x.dtype)(x) for i in range(block.num_heads)]
    if block.combine:
        answers += [(answers[i] + answers[j]) / 2 for i in range(block.num_heads) for j in range(i)]
    return torch.stack(answers, 1)


CASES = {
    "linear": BlockCase(
        make=lambda: MultiOutputHead(head=nn.Linear(6, 2), num_heads=3),
        example=drawn(4, 6),
        reference=by_hand,
        wrong_inputs=[drawn(2, 5)],
        parameters=3 * (6 * 2 + 2),
        elastic=("in", "out"),
    ),
    "conv": BlockCase(
        make=lambda: MultiOutputHead(
            head=nn.Conv2d(6, 2, 3, padding=1), num_heads=2, combine=False
        ),
        example=drawn(3, 6, 4, 4),
        channel_dim=1,
        surround=lambda block: nn.Sequential(
            __import__("collections").OrderedDict(
                before=nn.Conv2d(6, 6, 1), block=block, flat=nn.Flatten(), after=nn.Linear(64, 3)
            )
        ),
        reference=by_hand,
        wrong_inputs=[drawn(2, 5, 4, 4)],
        parameters=2 * (6 * 2 * 9 + 2),
        elastic=("in", "out"),
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_the_first_answer_is_the_layer_it_was_made_from():
    layer = nn.Linear(5, 3)
    block, x = MultiOutputHead(head=layer, num_heads=4), drawn(2, 5)
    assert torch.allclose(block(x)[:, 0], layer(x), atol=1e-6)
    assert block(x).shape == (2, 10, 3)
    quiet = MultiOutputHead(head=layer, num_heads=2, noise=0.0)(x)
    assert torch.allclose(quiet[:, 2], layer(x), atol=1e-6)


def loss_by_hand(prediction, target, relax):
    total = 0.0
    for answers, wanted in zip(prediction, target, strict=True):
        losses = sorted(float(((a - wanted) ** 2).mean()) for a in answers)
        rest = sum(losses[1:]) / max(1, len(losses) - 1)
        total += (1 - relax) * losses[0] + relax * rest if len(losses) > 1 else losses[0]
    return total / len(target)


@pytest.mark.parametrize("relax", [0.0, 0.25])
@pytest.mark.parametrize("heads", [1, 4])
def test_the_loss_is_the_mean_over_samples_of_the_best(heads, relax):
    prediction, target = drawn(5, heads, 3, 2).double(), drawn(5, 3, 2, seed=1).double()
    want = loss_by_hand(prediction, target, relax)
    assert best_of_heads_loss(prediction, target, relax=relax).item() == pytest.approx(want)
    turned = prediction.flip(1)
    assert best_of_heads_loss(turned, target, relax=relax).item() == pytest.approx(want)
    assert best_of_heads_loss(prediction[:, :1], target) == nn.functional.mse_loss(
        prediction[:, 0], target
    )


def test_the_psnr_loss_is_that_of_the_best_answer():
    prediction, target = drawn(3, 2, 4).double(), drawn(3, 4, seed=1).double()
    best = ((prediction - target[:, None]) ** 2).mean(2).amin(1)
    want = sum(10 * math.log10(float(b) + 1e-8) for b in best) / 3
    assert best_of_heads_loss(prediction, target, "psnr").item() == pytest.approx(want)


def test_losers_get_no_gradient():
    prediction, target = drawn(4, 3, 2).requires_grad_(), drawn(4, 2, seed=1)
    best_of_heads_loss(prediction, target).backward()
    best = ((prediction - target[:, None]) ** 2).mean(2).argmin(1)
    has_gradient = prediction.grad.abs().sum(2) > 0
    assert torch.equal(has_gradient, nn.functional.one_hot(best, 3).bool())


def test_metrics():
    prediction, target = drawn(40, 4, 2), drawn(40, 2, seed=1)
    single = [float(((prediction[:, h] - target) ** 2).mean()) for h in range(4)]
    assert single_head_metric(prediction, target) == pytest.approx(min(single), rel=1e-6)
    assert oracle_metric(prediction, target) < min(single)
    usage = head_usage(prediction, target)
    best = ((prediction - target[:, None]) ** 2).mean(2).argmin(1).tolist()
    assert usage.tolist() == pytest.approx([best.count(h) / 40 for h in range(4)])


def test_pairs_are_added_after_the_answers():
    answers = drawn(2, 3, 5)
    found = combined_answers(answers)
    assert found.shape == (2, 6, 5)
    assert torch.equal(found[:, :3], answers)
    assert torch.equal(found[:, 4], (answers[:, 0] + answers[:, 2]) / 2)


def test_errors():
    with pytest.raises(BlockError, match="num_heads"):
        MultiOutputHead(head=nn.Linear(2, 2), num_heads=0)
    with pytest.raises(BlockError, match="one answer"):
        best_of_heads_loss(drawn(2, 3, 4), drawn(2, 3, 4))
    with pytest.raises(BlockError, match="ReLU"):
        MultiOutputHead(head=nn.ReLU())
    with pytest.raises(BlockError, match="heads 0 to 1"):
        MultiOutputHead(head=nn.Linear(2, 2), num_heads=2).select(2)
