"""Dice against its formula, with the statistics of the batch and with moving averages."""

import torch
from torch import nn

from supple.blocks.dice import Dice
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def used():
    """With slopes and averages that are not the first ones."""
    block = Dice(num_features=6)
    with torch.no_grad():
        block.alpha.copy_(torch.linspace(-0.5, 0.5, 6))
        block.running_mean.copy_(torch.linspace(-1, 1, 6))
        block.running_var.copy_(torch.linspace(0.5, 2, 6))
    return block


def by_hand(block, x):
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, var = block.running_mean.view(shape), block.running_var.view(shape)
    p = 1 / (1 + torch.exp(-(x - mean) / (var + block.eps) ** 0.5))
    return p * x + (1 - p) * block.alpha.view(shape) * x


CASES = {
    "features": BlockCase(
        make=used,
        example=drawn(5, 6),
        reference=by_hand,
        wrong_inputs=[drawn(2, 7), drawn(6)],
        parameters=6,
    ),
    "images": BlockCase(
        make=lambda: Dice(num_features=6),
        example=drawn(5, 6, 4, 3),
        channel_dim=1,
        reference=by_hand,
        wrong_inputs=[drawn(2, 7, 4, 3)],
        parameters=6,
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_training_uses_the_batch_and_moves_the_averages():
    block, x = Dice(num_features=6, momentum=0.25), drawn(64, 6, seed=1).double() * 3 + 1
    block.double()
    mean, var = x.mean(0), x.var(0, correction=0)
    p = torch.sigmoid((x - mean) / (var + block.eps).sqrt())
    assert torch.allclose(block(x), p * x)  # the first slope is zero
    assert torch.allclose(block.running_mean, 0.25 * mean)
    assert torch.allclose(block.running_var, 0.75 + 0.25 * x.var(0, correction=1))


def test_slope_one_is_the_identity():
    block, x = Dice(num_features=3), drawn(4, 3)
    nn.init.ones_(block.alpha)
    assert torch.allclose(block(x), x)


def test_without_spread_it_is_a_prelu():
    block, x = Dice(num_features=1, eps=1e-12).double().eval(), drawn(50, 1).double()
    with torch.no_grad():
        block.alpha.fill_(0.2)
        block.running_var.zero_()
    assert torch.allclose(block(x), nn.functional.prelu(x, torch.tensor([0.2]).double()))
