"""Mixtures of experts against a loop over tokens."""

import pytest
import torch
from torch import nn

from supple.blocks.moe import (
    SparseMoE,
    SwitchFFN,
    collect_aux_losses,
    switch_balance_loss,
    upcycle,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def switch_by_hand(block, x):
    y = torch.zeros_like(x)
    for token, out in zip(x.reshape(-1, x.shape[-1]), y.view(-1, x.shape[-1]), strict=True):
        p = torch.softmax(block.router.weight @ token, 0)
        e = int(p.argmax())
        h = torch.relu(block.weight1[e] @ token + block.bias1[e])
        out.copy_(p[e] * (block.weight2[e] @ h + block.bias2[e]))
    return y


def mixture_by_hand(block, x):
    y = torch.zeros_like(x)
    for token, out in zip(x, y, strict=True):
        logits = block.router.weight @ token
        best = torch.argsort(logits, descending=True)[: block.top_k]
        shares = torch.softmax(logits if block.kind == "switch" else logits[best], 0)
        for rank, e in enumerate(best.tolist()):
            gate = shares[e] if block.kind == "switch" else shares[rank]
            out += gate * block.experts[e](token)
    return y


def mixture(**settings):
    return SparseMoE(experts=[nn.Linear(6, 6) for _ in range(4)], in_features=6, **settings)


CASES = {
    "switch ffn": BlockCase(
        make=lambda: SwitchFFN(in_features=6, hidden_features=8, num_experts=3),
        example=drawn(4, 3, 6),
        reference=switch_by_hand,
        wrong_inputs=[drawn(2, 5)],
        parameters=3 * (6 * 8 + 8 + 8 * 6 + 6) + 3 * 6,
        train_mode=False,  # tokens over an expert's capacity depend on the whole batch
        elastic=("in", "inside", "out"),
    ),
    "two of four": BlockCase(
        make=lambda: mixture(top_k=2, router="noisy_topk"),
        example=drawn(5, 6),
        reference=mixture_by_hand,
        wrong_inputs=[drawn(2, 5)],
        elastic=("in", "out"),
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_all_equal_experts_are_the_dense_layer():
    layer = nn.Linear(6, 6)
    block = upcycle(
        layer, in_features=6, num_experts=3, noise=0.0, top_k=3, router="noisy_topk"
    ).eval()
    x = drawn(5, 6)
    assert torch.allclose(block(x), layer(x), atol=1e-6)
    noisy = upcycle(layer, in_features=6, num_experts=3, noise=0.1)
    assert not torch.equal(noisy.experts[0].weight, noisy.experts[1].weight)
    assert torch.equal(noisy.extract_expert(1)(x), noisy.experts[1](x))


def test_the_captured_form_is_the_eager_one():
    for block in (
        SwitchFFN(in_features=6, hidden_features=8, num_experts=3),
        mixture(top_k=2),
    ):
        x = drawn(12, 6)
        program = torch.export.export(block.eval(), (x,), strict=False)
        assert torch.allclose(program.module()(x), block(x), atol=1e-6)


def test_tokens_over_the_capacity_give_nothing():
    block = SwitchFFN(in_features=6, hidden_features=8, num_experts=2, capacity_factor=1.0)
    with torch.no_grad():
        block.router.weight.copy_(torch.stack([torch.ones(6), -torch.ones(6)]))
    x = drawn(8, 6).abs()  # all to the first expert, which has room for 4
    y = block(x)
    assert torch.equal(y[4:], torch.zeros(4, 6))
    assert torch.allclose(y[:4], switch_by_hand(block, x)[:4], atol=1e-6)
    assert torch.allclose(block.eval()(x), switch_by_hand(block, x), atol=1e-6)


def test_order_of_tokens_does_not_matter_without_a_bound():
    block, x = (
        SwitchFFN(in_features=6, hidden_features=8, num_experts=3, capacity_factor=None),
        drawn(9, 6),
    )
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(block(x[order]), block(x)[order], atol=1e-6)


def test_balance_loss():
    """One at uniform routing, the number of experts at collapse."""
    even = torch.eye(4) * 0.9 + 0.025
    assert switch_balance_loss(even / even.sum(1, keepdim=True)).item() == pytest.approx(1.0)
    assert switch_balance_loss(torch.eye(4)[[0, 0, 0]]).item() == pytest.approx(4.0)


def test_losses_are_collected_and_reach_the_router():
    net = nn.Sequential(mixture(router="noisy_topk", top_k=2), mixture(balance_weight=0.5))
    net(drawn(20, 6))
    loss = collect_aux_losses(net)
    assert torch.allclose(loss, net[0].aux_loss + net[1].aux_loss)
    loss.backward()
    assert all(block.router.weight.grad.abs().sum() > 0 for block in net)
    assert net[1].router_stats["load"].sum() == 20
    importance = net[0].gates(drawn(7, 6))[0]
    assert torch.allclose(importance.sum(1), torch.ones(7))


def test_noise_is_drawn_in_training_only():
    block, x = mixture(router="noisy_topk", top_k=4), drawn(5, 6)
    assert torch.equal(block.eval()(x), block(x))
    block.train()
    assert not torch.equal(block(x), block(x))


def test_errors():
    with pytest.raises(BlockError, match="more experts than there are"):
        mixture(top_k=5)
    with pytest.raises(BlockError, match="router"):
        mixture(router="hash")
