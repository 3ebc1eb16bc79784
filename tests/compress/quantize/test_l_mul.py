"""L-Mul against the paper's formula, its carry, special values and plain loops."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from supple.compress.quantize import (
    LMul,
    energy,
    round_mantissa,
    simulate_fp8,
    use_arithmetic_,
)
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_formula(x, y, m, l):  # noqa: E741
    """The paper's sum, with the carry of an integer addition, on Python floats."""
    if x == 0 or y == 0:
        return 0.0
    (a, p), (b, q) = math.frexp(abs(x)), math.frexp(abs(y))
    total = (2 * a - 1) + (2 * b - 1) + 2.0**-l
    carry = int(total)
    value = (1 + total - carry) * 2.0 ** (p + q - 2 + carry)
    return math.copysign(value, x * y)


@pytest.mark.parametrize(("m", "l"), [(1, 1), (3, 3), (4, 3), (4, 4), (7, 4), (23, 4)])
def test_products_are_the_formulas(m, l):  # noqa: E741
    x, y = values(300), values(300, seed=1) * 30
    found = LMul(mantissa_bits=m, offset=l)(x, y)
    rounded = [round_mantissa(v, m).tolist() for v in (x, y)]
    expected = [by_formula(a, b, m, l) for a, b in zip(*rounded, strict=True)]
    assert found.tolist() == expected


def test_it_is_the_addition_of_bit_patterns():
    x, y = values(100).abs() + 0.1, values(100, seed=1).abs() + 0.1
    bits = x.view(torch.int32) + (y.view(torch.int32) - (127 << 23)) + (1 << (23 - 4))
    assert torch.equal(LMul(mantissa_bits=23)(x, y), bits.view(torch.float32))


def test_mantissas_are_rounded_half_to_even():
    x = torch.tensor([1.0, 1.25, 1.75, 1.875, -1.375, 0.0, 3e-39])
    assert round_mantissa(x, 1).tolist()[:6] == [1.0, 1.0, 2.0, 2.0, -1.5, 0.0]
    assert torch.equal(round_mantissa(x, 23), x)


def test_the_error_is_near_the_known_one():
    """Figures that were worked out apart from this code, for normal factors."""
    x, y = values(200_000), values(200_000, seed=1)
    for m, l, known in [(3, 3, 0.069), (4, 3, 0.062), (4, 4, 0.036), (6, 4, 0.032)]:  # noqa: E741
        error = LMul(mantissa_bits=m, offset=l)(x, y) / (x * y) - 1
        assert float(error.square().mean().sqrt()) == pytest.approx(known, abs=0.002)
    for form, known in (("e5m2", 0.075), ("e4m3", 0.037)):
        product = simulate_fp8(x, form) * simulate_fp8(y, form)
        inside = (x.abs() > 0.02) & (y.abs() > 0.02)
        error = (product / (x * y) - 1)[inside]
        assert float(error.square().mean().sqrt()) == pytest.approx(known, abs=0.003)


def test_special_values():
    multiply = LMul(mantissa_bits=4)
    inf, nan = math.inf, math.nan
    x = torch.tensor([0.0, -0.0, inf, inf, nan, 1e30, 1e-30, -2.0, 1e-42])
    y = torch.tensor([5.0, 3.0, -2.0, 0.0, 1.0, 1e30, 1e-30, 0.0, 1.0])
    found = multiply(x, y).tolist()
    assert found[:4] == [0.0, 0.0, -inf, pytest.approx(nan, nan_ok=True)]
    assert math.isnan(found[4])
    assert found[5:] == [inf, 0.0, 0.0, 0.0]


def test_it_commutes_and_signs_multiply():
    x, y = values(100), values(100, seed=1)
    multiply = LMul(mantissa_bits=3)
    assert torch.equal(multiply(x, y), multiply(y, x))
    assert torch.equal(multiply(-x, y), -multiply(x, y))


def test_matrix_products_are_sums_of_products():
    a, b = values(2, 4, 5), values(2, 5, 3, seed=1)
    multiply = LMul(mantissa_bits=3)
    expected = multiply(a[:, :, :, None], b[:, None]).sum(2)
    torch.testing.assert_close(multiply.matmul(a, b), expected)


def test_gradients_are_those_of_true_products():
    a, b = values(4, 5).requires_grad_(), values(5, 3, seed=1).requires_grad_()
    up = values(4, 3, seed=2)
    LMul().matmul(a, b).backward(up)
    torch.testing.assert_close(a.grad, up @ b.detach().T)
    torch.testing.assert_close(b.grad, a.detach().T @ up)


def test_attention_is_near_the_exact_one():
    q, k, v = (values(2, 6, 8, seed=s) for s in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    found = LMul(mantissa_bits=6).attention(q, k, v, mask=mask)
    exact = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert float((found - exact).abs().max()) < 0.12
    assert not torch.equal(found, exact)


def test_a_network_can_run_in_it():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    x = values(5, 8)
    exact = model(x)
    assert use_arithmetic_(model, LMul(mantissa_bits=6)) == ["0", "2"]
    assert 0 < float((model(x) - exact).detach().abs().max()) < 0.1


def test_energy_by_hand():
    assert energy(10, how="float32")["total"] == pytest.approx(46)
    assert energy(10, how="l_mul")["products"] == pytest.approx(1)
    exact, cheap = energy(1, how="float32", sums="none"), energy(1, how="l_mul", sums="none")
    assert 1 - cheap["total"] / exact["total"] == pytest.approx(0.973, abs=0.001)


def test_bad_input():
    for make in (
        lambda: LMul(mantissa_bits=0), lambda: LMul(offset="best"), lambda: LMul(offset=9),
        lambda: simulate_fp8(torch.ones(1), "e3m4"), lambda: energy(1, how="int4"),
        lambda: use_arithmetic_(nn.ReLU(), LMul()),
    ):  # fmt: skip
        with pytest.raises(CompressError):
            make()
