"""SELU, alpha dropout and the moment map against quadrature, sampling and torch."""

import math

import pytest
import scipy.integrate
import torch
from torch import nn

from supple.blocks.self_normalizing import (
    ALPHA,
    LAMBDA,
    SELU,
    AlphaDropout,
    lecun_normal_,
    make_self_normalizing,
    moment_map,
    selu_parameters,
    weight_sums,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def formula(block, x):
    return block.scale * torch.where(x > 0, x, block.alpha * (torch.exp(x) - 1))


CASES = {
    "selu": BlockCase(make=SELU, example=X, reference=formula, parameters=0, macs=0),
    "alpha-dropout": BlockCase(
        make=lambda: AlphaDropout(p=0.2), example=X, reference=lambda block, x: x, parameters=0
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_the_defaults_are_those_of_torch():
    assert torch.allclose(SELU()(X), nn.functional.selu(X), atol=1e-6)
    assert SELU(scale=1.0, alpha=1.0)(torch.tensor(-1.0)).item() == pytest.approx(math.exp(-1) - 1)


def test_alpha_dropout_has_the_papers_coefficients():
    scale, shift = AlphaDropout(p=0.1).coefficients()
    assert (scale, shift) == pytest.approx((0.92128, 0.16197), abs=5e-6)


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.5, 2.0)])
def test_alpha_dropout_keeps_mean_and_variance(mean, variance):
    torch.manual_seed(0)
    layer = AlphaDropout(p=0.1, mean=mean, variance=variance)
    out = layer(mean + math.sqrt(variance) * torch.randn(1_000_000))
    assert out.mean().item() == pytest.approx(mean, abs=0.005)
    assert out.var().item() == pytest.approx(variance, rel=0.01)
    dropped = nn.functional.alpha_dropout(torch.zeros(100_000), 0.1, training=True)
    ours = AlphaDropout(p=0.1)(torch.zeros(100_000))
    assert sorted(ours.unique().tolist()) == pytest.approx(
        sorted(dropped.unique().tolist()), abs=1e-5
    )


@pytest.mark.parametrize(
    ("mean", "variance", "omega", "tau"),
    [(0, 1, 0, 1), (0.1, 1.5, 0.1, 1.1), (-2, 0.3, 0.8, 0.9), (3, 4, 1.5, 2), (-6, 60, 2, 1.5)],
)
def test_the_moment_map_is_the_integral(mean, variance, omega, tau):
    m, s = mean * omega, variance * tau

    def selu(x):
        return LAMBDA * (x if x > 0 else ALPHA * (math.exp(x) - 1))

    def expected(power):
        def inside(x):
            return (
                selu(x) ** power * math.exp(-((x - m) ** 2) / (2 * s)) / math.sqrt(2 * math.pi * s)
            )

        reach = 12 * math.sqrt(s)
        return scipy.integrate.quad(
            inside, m - reach, m + reach, points=[0.0], epsabs=1e-12, limit=200
        )[0]

    first, second = expected(1), expected(2)
    got = moment_map(mean, variance, omega=omega, tau=tau)
    assert got == pytest.approx((first, second - first**2), rel=1e-9, abs=1e-10)


def test_mean_zero_and_variance_one_attract():
    mean, variance = 0.1, 1.5
    for _ in range(60):
        mean, variance = moment_map(mean, variance)
    assert (mean, variance) == pytest.approx((0, 1), abs=1e-6)


def test_large_arguments_do_not_overflow():
    assert all(math.isfinite(v) for v in moment_map(50.0, 5000.0, omega=1.0, tau=1.0))
    with pytest.raises(BlockError, match="tau=0"):
        moment_map(0.0, 1.0, tau=0.0)


def test_the_parameters_of_a_fixed_point():
    assert selu_parameters(0.0, 1.0) == pytest.approx((LAMBDA, ALPHA), abs=1e-10)
    scale, alpha = selu_parameters(0.0, 2.0)
    assert moment_map(0.0, 2.0, scale=scale, alpha=alpha) == pytest.approx((0, 2), abs=1e-9)
    with pytest.raises(BlockError, match="fixed point"):
        selu_parameters(5.0, 0.01)


def test_statistics_stay_through_64_layers():
    torch.manual_seed(0)
    model = make_self_normalizing(
        nn.Sequential(*(part for _ in range(64) for part in (nn.Linear(256, 256), nn.ReLU())))
    )
    with torch.no_grad():
        out = model(torch.randn(500, 256))
    assert abs(out.mean().item()) < 0.1
    assert 0.8 < out.var().item() < 1.3


def test_lecun_weights_have_the_sums_of_the_theorem():
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 400, 5)
    assert lecun_normal_(layer.weight) is layer.weight
    omega, tau = weight_sums(layer)
    assert abs(omega.mean().item()) < 0.2
    assert tau.mean().item() == pytest.approx(1, rel=0.02)


def test_a_model_is_made_self_normalizing():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.3))
    with pytest.warns(UserWarning, match="'1' is a BatchNorm1d"):
        made = make_self_normalizing(model)
    assert [type(m) for m in made] == [nn.Linear, nn.BatchNorm1d, SELU, AlphaDropout]
    assert made[3].p == 0.3
    assert made[0].bias.abs().max() == 0
    assert isinstance(model[2], nn.GELU)


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_shares_out_of_range_are_refused(p):
    with pytest.raises(BlockError, match=f"p={p}"):
        AlphaDropout(p=p)
