"""BiPer: the paper's values and gradients, the known limit of the error, bits that go round."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from supple.compress.quantize import (
    BinaryConv2d,
    BinaryLinear,
    BiPer,
    approximate_sign,
    binarization_error,
    binarize_,
    pack_signs,
    set_stage_,
    unpack_signs,
)
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_weights_are_one_or_minus_one_and_the_gradient_is_the_sines():
    w = torch.cat([values(50) * 0.1, torch.zeros(1)]).requires_grad_()
    binary = BiPer(frequency=20)(w)
    assert set(binary.tolist()) == {1.0, -1.0}
    up = values(51, seed=1)
    binary.backward(up)
    torch.testing.assert_close(w.grad, up * 20 * torch.cos(20 * w.detach()))


def test_stage_one_is_the_sine():
    w = (values(6).double() * 0.1).requires_grad_()
    assert torch.autograd.gradcheck(BiPer(frequency=20, stage=1), w)


def test_it_is_periodic():
    w = values(40).double() * 0.1
    one = BiPer(frequency=20)
    assert torch.equal(one(w), one(w + 2 * math.pi / 20))


def test_the_error_falls_with_the_frequency_to_its_limit():
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    laplace = (uniform - 0.5).sign() * torch.log1p(-2 * (uniform - 0.5).abs()) * -0.03
    layer = BinaryLinear(in_features=200_000, out_features=1)
    with torch.no_grad():
        layer.weight.copy_(laplace[None])
    errors = []
    for frequency in (5.0, 10.0, 20.0, 40.0, 5000.0):
        layer.biper = BiPer(frequency=frequency)
        errors.append(binarization_error(layer))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(1 - 2 / math.pi, abs=0.005)


def test_layers_equal_plain_ones_on_signs():
    layer = BinaryConv2d(in_channels=3, out_channels=5, kernel_size=3, padding=1, scale="none")
    x = values(2, 3, 6, 6)
    sign = torch.where(x < 0, -1.0, 1.0)
    expected = F.conv2d(sign, torch.where(torch.sin(20 * layer.weight) < 0, -1.0, 1.0), padding=1)
    assert torch.equal(layer(x), expected)
    linear = BinaryLinear(in_features=7, out_features=4, rule="sign", scale="mean")
    x = values(3, 7)
    signs = torch.where(linear.weight < 0, -1.0, 1.0)
    scale = linear.weight.abs().mean(1)
    torch.testing.assert_close(linear(x), torch.where(x < 0, -1.0, 1.0) @ signs.T * scale)


def test_approximate_signs_gradient():
    x = torch.linspace(-2, 2, 81, requires_grad=True)
    approximate_sign(x).sum().backward()
    torch.testing.assert_close(x.grad, (2 - 2 * x.detach().abs()).clamp(min=0))


def test_an_xor_popcount_gives_the_same_product():
    x, w = torch.where(values(64) < 0, -1.0, 1.0), torch.where(values(64, seed=1) < 0, -1.0, 1.0)
    a, b = (int.from_bytes(bytes(pack_signs(v).tolist()), "little") for v in (x, w))
    assert 64 - 2 * (a ^ b).bit_count() == int(x @ w)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 8)])
def test_packed_signs_come_back(shape):
    x = torch.where(values(*shape) < 0, -1.0, 1.0)
    assert torch.equal(unpack_signs(pack_signs(x), shape), x)
    assert len(pack_signs(x)) == -(-x.numel() // 8)


def test_a_network_becomes_binary_and_trains_in_both_stages():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 2),
        )  # fmt: skip
        assert binarize_(model, skip=["0", "5"]) == ["3"]
    x = values(4, 1, 8, 8)
    for stage in (1, 2):
        assert set_stage_(model, stage) == 1
        model.zero_grad()
        model(x).square().sum().backward()
        assert float(model[3].weight.grad.abs().sum()) > 0
        assert float(model[3].alpha.grad.abs().sum()) > 0


def test_bad_input():
    for make in (
        lambda: BiPer(frequency=0), lambda: BiPer(stage=3), lambda: binarize_(nn.ReLU()),
        lambda: binarize_(nn.Sequential(nn.Linear(2, 2)), skip=["1"]),
        lambda: BinaryLinear(in_features=2, out_features=2, scale="max"),
        lambda: pack_signs(torch.zeros(3)),
    ):  # fmt: skip
        with pytest.raises(CompressError):
            make()
