"""Wide attention against torch's own attention and encoder layer."""

import math

import pytest
import torch
from torch import nn

from supple.blocks.wide_attention import (
    WideAttention,
    WideEncoder,
    WideEncoderLayer,
    aspect_ratio_space,
    aspect_ratios,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(block, x):
    """Head by head, token by token."""
    y = torch.zeros(*x.shape[:2], block.num_heads * block.head_dim, dtype=x.dtype)
    q, k, v = block.query(x), block.key(x), block.value(x)
    for n in range(block.num_heads):
        own = slice(n * block.head_dim, (n + 1) * block.head_dim)
        for b in range(len(x)):
            for t in range(x.shape[1]):
                seen = [
                    s
                    for s in range(x.shape[1])
                    if block.attention != "local" or abs(s - t) <= block.window
                ]
                if block.attention == "linear":
                    map_ = nn.functional.elu
                    weights = [(map_(q[b, t, own]) + 1) @ (map_(k[b, s, own]) + 1) for s in seen]
                else:
                    scores = [q[b, t, own] @ k[b, s, own] / math.sqrt(block.head_dim) for s in seen]
                    weights = [s.exp() for s in scores]
                total = sum(weights)
                y[b, t, own] = sum(
                    w / total * v[b, s, own] for w, s in zip(weights, seen, strict=True)
                )
    return block.out(y)


def attention(kind):
    return lambda: WideAttention(in_features=4, num_heads=3, head_dim=4, attention=kind, window=1)


CASES = {
    kind: BlockCase(
        make=attention(kind),
        example=drawn(3, 4, 4),
        reference=by_hand,
        wrong_inputs=[drawn(2, 4, 5), drawn(2, 4)],
        parameters=4 * (4 * 12) + 3 * 12 + 4,
        elastic=("in", "out", "inside"),
        cannot={"removed_equals_zeroed": "a feature of zero counts one in elu(k) + 1"}
        if kind == "linear"
        else {},
    )
    for kind in ("softmax", "linear", "local")
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_as_wide_as_the_embedding_it_is_torchs_encoder_layer():
    block = WideEncoderLayer(in_features=8, num_heads=2, head_dim=4, hidden_features=16)
    other = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    parts = (block.attention.query, block.attention.key, block.attention.value)
    with torch.no_grad():
        other.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        other.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    other.self_attn.out_proj.load_state_dict(block.attention.out.state_dict())
    for name in ("linear1", "linear2", "norm1", "norm2"):
        getattr(other, name).load_state_dict(getattr(block, name).state_dict())
    x = drawn(3, 5, 8)
    assert torch.allclose(block(x), other(x), atol=1e-5)


def encoder(layers, heads):
    return WideEncoder(
        vocabulary=11, in_features=8, layers=layers, num_heads=heads, head_dim=4,
        hidden_features=16, num_classes=5, max_length=12,
    )  # fmt: skip


@pytest.mark.parametrize(("layers", "heads"), aspect_ratios(12))
def test_parameters_follow_the_formula(layers, heads):
    net = encoder(layers, heads)
    attention = layers * (4 * 8 * heads * 4 + 3 * heads * 4 + 8)  # the matrices do not change
    rest = layers * (2 * 8 * 16 + 16 + 8 + 4 * 8)
    assert sum(p.numel() for p in net.layers.parameters()) == attention + rest
    assert net(torch.zeros(2, 7, dtype=torch.long)).shape == (2, 5)


def test_every_ratio_has_all_heads():
    assert all(layers * heads == 12 for layers, heads in aspect_ratios(12))
    assert len(aspect_ratios(12)) == 6
    space = aspect_ratio_space(12)
    assert space.size == 6
    assert space.largest == {"aspect": "12x1"}


def test_errors():
    with pytest.raises(BlockError, match="places for 12"):
        encoder(1, 2)(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(BlockError, match="share out"):
        aspect_ratios(0)
    with pytest.raises(BlockError, match="attention"):
        WideAttention(in_features=4, num_heads=1, head_dim=4, attention="sparse")
