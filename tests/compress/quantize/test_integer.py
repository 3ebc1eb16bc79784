"""Integer arithmetic against the simulated one and against torch's int8 kernels."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supple.compress.quantize import Dyadic, Uniform, integer_linear
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_integers_equal_the_simulation_to_one_code(granularity):
    x, w, b = values(50, 32), values(7, 32, seed=1), values(7, seed=2)
    x_grid = Uniform(symmetric=False, granularity="tensor").grid(x.reshape(1, -1))
    weights = Uniform(granularity=granularity)
    w_grid = weights.grid(weights.rows(w))
    simulated = x_grid.nearest(x) @ w_grid.nearest(w).T + b
    out_grid = Uniform(symmetric=False, granularity="tensor").grid(simulated.reshape(1, -1))
    bias = torch.round(b / (x_grid.scale * w_grid.scale).reshape(-1)).long()
    found = integer_linear(
        x_grid.codes(x).long(), w_grid.codes(w).long(),
        x_grid=x_grid, weight_grid=w_grid, out_grid=out_grid, bias=bias,
    )  # fmt: skip
    off = (found - out_grid.codes(simulated).long()).abs()
    assert int(off.max()) <= 1
    assert float((off > 0).float().mean()) < 0.01


@given(st.floats(1e-8, 1e8), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_dyadic_factor_rounds_as_fractions_do(factor, number):
    one = Dyadic.nearest(factor)
    assert abs(one.mantissa / 2**one.shift / factor - 1) <= 2**-31
    exact = Fraction(number * one.mantissa, 2**one.shift)
    assert abs(int(one.times(torch.tensor(number))) - exact) <= Fraction(1, 2)


def test_what_does_not_fit_is_named():
    grid = Uniform(granularity="tensor").grid(torch.ones(1, 1))
    shifted = Uniform(symmetric=False, granularity="tensor").grid(torch.tensor([[-1.0, 1.0]]))
    ones = torch.ones(1, 1, dtype=torch.int64)
    with pytest.raises(CompressError, match="zero point"):
        integer_linear(ones, ones, x_grid=grid, weight_grid=shifted, out_grid=grid)
    with pytest.raises(CompressError, match="32 bits"):
        integer_linear(ones * 2**20, ones * 2**12, x_grid=grid, weight_grid=grid, out_grid=grid)
    for factor in (0.0, float("nan"), 1e-30):
        with pytest.raises(CompressError):
            Dyadic.nearest(factor)
