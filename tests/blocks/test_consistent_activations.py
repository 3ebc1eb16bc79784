"""Closed-form activations and their duals, by sampling, quadrature and iteration."""

import math

import numpy as np
import pytest
import torch

from supple.blocks.consistent_activations import (
    DUALS,
    ConsistentActivation,
    HermiteActivation,
    SineActivation,
    dual,
    dual_coefficients,
    limit_classifier,
    singularity_exponent,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
ROOTS = math.sqrt(2), math.sqrt(6)
CASES = {
    "dimension-2": BlockCase(
        make=lambda: ConsistentActivation(dimension=2), example=X, parameters=0, macs=0,
        reference=lambda act, z: (z + (z**3 - 3 * z) / ROOTS[1]) / ROOTS[0],
    ),
    "dimension-4": BlockCase(
        make=lambda: ConsistentActivation(dimension=4), example=X,
        reference=lambda act, z: z / 2 + (z**2 - 1) / 2 + (z**3 - 3 * z) / ROOTS[1] / 2,
    ),
    "sine": BlockCase(
        make=lambda: SineActivation(rate=2.0), example=X,
        reference=lambda act, z: math.e / math.sinh(2) ** 0.5 * torch.sin(ROOTS[0] * z),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("degree", range(8))
def test_hermite_polynomials_are_those_of_numpy(degree):
    got = HermiteActivation([0.0] * degree + [1.0])(X.double()).numpy()
    want = np.polynomial.hermite_e.hermeval(X.double().numpy(), [0.0] * degree + [1.0])
    assert np.allclose(got, want / math.sqrt(math.factorial(degree)), atol=1e-12)


@pytest.mark.parametrize("dimension", DUALS)
def test_the_closed_forms_have_their_duals(dimension):
    act = ConsistentActivation(dimension=dimension)
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    want = sum(c * x**i for i, c in DUALS[dimension].items())
    assert torch.allclose(act.dual(x), want, atol=1e-14)
    found = dual_coefficients(act, 8)
    assert found == pytest.approx([DUALS[dimension].get(i, 0.0) for i in range(9)], abs=1e-10)
    assert singularity_exponent(found) == pytest.approx(dimension, abs=1e-3)


@pytest.mark.parametrize("act", [SineActivation(rate="2"), ConsistentActivation(dimension=2)])
def test_the_dual_is_what_a_wide_layer_does_to_a_cosine(act):
    draws = torch.randn(2, 2_000_000, generator=torch.Generator().manual_seed(1)).double()
    cosine = 0.6
    u, v = draws[0], cosine * draws[0] + 0.8 * draws[1]
    sampled = (act(u) * act(v)).mean().item()
    assert act.dual(torch.tensor(cosine)).item() == pytest.approx(sampled, abs=0.02)


@pytest.mark.parametrize(("rate", "dimension"), [("2", 2), ("4", 4), ("8", 8)])
def test_sines_of_the_named_rates_fit_their_dimension(rate, dimension):
    act = SineActivation(rate=rate)
    slopes = [act.rate * math.cosh(act.rate * x) / math.sinh(act.rate) for x in (0, 1)]
    assert -2 * math.log(slopes[0]) / math.log(slopes[1]) == pytest.approx(dimension, rel=1e-3)


def test_deep_duals_become_the_singular_kernel():
    coefficients = [0.0, 0.5, 0.0, 0.5]
    x = torch.tensor([1 - 1e-4, 1 - 1e-5], dtype=torch.float64)
    deep = x
    for _ in range(60):
        deep = dual(coefficients, deep)
    slope = (deep[1].log() - deep[0].log()) / math.log(10)
    assert slope.item() == pytest.approx(singularity_exponent(coefficients) / 2, rel=1e-2)


def test_the_limits_of_known_activations():
    assert limit_classifier(dual_coefficients(torch.relu)) == "majority"
    assert limit_classifier(dual_coefficients(lambda z: z**2 - 1)) == "one_nn"
    assert limit_classifier(dual_coefficients(torch.tanh)) == "singular"
    assert sum(dual_coefficients(torch.tanh, 60)) == pytest.approx(1, abs=1e-3)


def test_what_has_no_closed_form_says_so():
    with pytest.raises(BlockError, match="1, 2, 4, 8"):
        ConsistentActivation(dimension=3)
    with pytest.raises(BlockError, match="singular"):
        singularity_exponent([0.5, 0.5])
    with pytest.raises(BlockError, match="not be zero"):
        HermiteActivation([0.0])
    with pytest.raises(BlockError, match="rate=-1"):
        SineActivation(rate=-1.0)
    with pytest.raises(BlockError, match="'16'"):
        SineActivation(rate="16")
