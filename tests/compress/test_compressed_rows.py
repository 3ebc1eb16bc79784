"""Layers in compressed rows: the same product, fewer numbers stored, and what is refused."""

import copy

import pytest
import torch
from torch import nn

from supple.compress.compressed_rows import CompressedRowsLinear, compress_rows, sparse_speed
from supple.compress.prune import prune
from supple.errors import CompressError


def layer(share, width=96, out=64, bias=True, seed=0):
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        one = nn.Linear(width, out, bias=bias)
    with torch.no_grad():
        one.weight.mul_(torch.rand(out, width, generator=draws) >= share)
    return one.eval()


@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(96,), (1, 96), (7, 96), (2, 3, 96)])
def test_the_product_is_the_dense_one(share, bias, shape):
    one = layer(share, bias=bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    rows = CompressedRowsLinear.of(one)
    torch.testing.assert_close(rows(x), one(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(rows.dense(), one.weight)
    assert rows.values.numel() == int((one.weight != 0).sum())


def test_state_dicts_and_copies_go_round():
    rows, x = CompressedRowsLinear.of(layer(0.9)), torch.ones(2, 96)
    other = CompressedRowsLinear(96, 64, kept=len(rows.values))
    other.load_state_dict(rows.state_dict())
    assert torch.equal(other(x), rows(x))
    assert torch.equal(copy.deepcopy(rows)(x), rows(x))


def test_only_sparse_layers_of_a_copy_are_replaced():
    model = nn.Sequential(layer(0.95, 64, 64), nn.ReLU(), layer(0.2, 64, 8)).eval()
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    twin = compress_rows(model)
    assert [type(part) for part in twin] == [CompressedRowsLinear, nn.ReLU, nn.Linear]
    assert type(model[0]) is nn.Linear
    torch.testing.assert_close(twin(x), model(x), rtol=1e-5, atol=1e-5)


def test_masks_are_taken_off_and_a_single_layer_will_do():
    pruned = prune(nn.Sequential(layer(0.0, 64, 64)), 0.95).network
    x = torch.ones(2, 64)
    torch.testing.assert_close(compress_rows(pruned)(x), pruned(x), rtol=1e-5, atol=1e-5)
    assert isinstance(compress_rows(layer(0.95)), CompressedRowsLinear)


def test_speeds_are_of_what_was_asked_for():
    found = sparse_speed([32], [1, 8], [0.9], seconds=0.001)
    assert [(f.features, f.batch, f.ratio) for f in found] == [(32, 1, 0.9), (32, 8, 0.9)]
    assert all(f.speedup == pytest.approx(f.dense_us / f.sparse_us) for f in found)


def test_bad_input_is_named():
    with pytest.raises(CompressError, match="no linear layer has 90% zeros"):
        compress_rows(nn.Sequential(nn.Conv2d(1, 1, 1), layer(0.5)))
    with pytest.raises(CompressError, match="96 inputs was given"):
        CompressedRowsLinear.of(layer(0.9))(torch.ones(2, 5))
    with pytest.raises(CompressError):
        compress_rows(layer(0.9), at_least=1.5)
