"""Every base against SciPy or its formula."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.special
import torch

from supple.blocks.kan.bases import BASES, BSpline, Gaussian, ReLUBump, Wavelet, basis
from supple.errors import BlockError

X = torch.linspace(-0.99, 0.98, 41, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("grid", [1, 4, 7])
def test_b_splines_are_those_of_scipy(grid, order):
    step = 3.0 / grid
    knots = -1.0 + step * np.arange(-order, grid + order + 1)
    x = np.linspace(-0.999, 1.999, 53)
    want = scipy.interpolate.BSpline.design_matrix(x, knots, order).toarray()
    base = BSpline(grid=grid, order=order, low=-1.0, high=2.0).double()
    got = base(torch.from_numpy(x))
    assert torch.allclose(got, torch.from_numpy(want), atol=1e-13)
    assert torch.allclose(got.sum(-1), torch.ones(53, dtype=torch.float64), atol=1e-13)


def test_outside_its_grid_a_spline_fades_or_stays():
    x = torch.tensor([1.5, 40.0])
    assert BSpline()(x)[1].abs().max() == 0
    clamped = BSpline(outside="clamp")(x)
    assert torch.equal(clamped[0], clamped[1])
    assert torch.equal(clamped[0], BSpline()(torch.tensor(1.0)))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("chebyshev", scipy.special.eval_chebyt),
        ("jacobi", lambda n, x: scipy.special.eval_jacobi(n, 1, 1, x)),
    ],
)
def test_polynomials_are_those_of_scipy(name, formula):
    got = basis(name, degree=6)(X)
    for n in range(7):
        want = torch.from_numpy(formula(n, np.tanh(X.numpy())))
        assert torch.allclose(got[:, n], want, atol=1e-12)


def test_fourier_and_silu_are_their_formulas():
    got = basis("fourier", grid=3)(X)
    want = [torch.cos(k * X) for k in (1, 2, 3)] + [torch.sin(k * X) for k in (1, 2, 3)]
    assert torch.allclose(got, torch.stack(want, -1), atol=1e-13)
    assert torch.allclose(basis("silu")(X)[:, 0], X / (1 + torch.exp(-X)), atol=1e-15)


def test_gaussians_stand_on_their_grid():
    base = Gaussian(count=5).double()
    x = torch.tensor([-2.0, 0.5], dtype=torch.float64)
    want = [[math.exp(-((v - c) ** 2)) for c in (-2, -1, 0, 1, 2)] for v in x.tolist()]
    assert torch.allclose(base(x), torch.tensor(want, dtype=torch.float64), atol=1e-14)


def test_wavelets_have_unit_energy_and_no_mean():
    base = Wavelet(count=1).double()
    with torch.no_grad():
        base.shift.fill_(0.3)
        base.rate.fill_(1.0)
    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    values = base(x)[:, 0].detach().numpy()
    assert scipy.integrate.simpson(values**2, x=x.numpy()) == pytest.approx(1, abs=1e-9)
    assert scipy.integrate.simpson(values, x=x.numpy()) == pytest.approx(0, abs=1e-9)


def test_bumps_have_height_one_and_their_support():
    base = ReLUBump(grid=4, order=2, low=0.0, high=2.0).double()
    for j in range(base.size):
        left = (j - 2) * 0.5
        x = torch.tensor([left, left + 0.75, left + 1.5], dtype=torch.float64)
        assert base(x)[:, j].tolist() == pytest.approx([0, 1, 0], abs=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_the_mean_square_is_that_of_a_normal_input(name):
    base = basis(name)
    draws = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    sampled = base(draws).square().sum(-1).mean().item()
    assert base.mean_square() == pytest.approx(sampled, rel=0.02)


def test_an_unknown_base_gets_near_misses():
    with pytest.raises(BlockError, match="did you mean 'fourier'"):
        basis("fouriér")
    with pytest.raises(BlockError, match="degree=0"):
        basis("chebyshev", degree=0)
