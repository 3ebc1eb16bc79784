"""PolyReLU and PolyNorm against their formulas."""

import pytest
import torch
from torch import nn

from supple.blocks.polynomial_composition import (
    PolyCom,
    PolyNorm,
    PolyNormFFN,
    PolyReLU,
    parameter_groups,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def uneven(block):
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        block.coefficients.copy_(torch.randn(block.coefficients.shape, generator=draws))
    return block


def polyrelu(block, x):
    u = torch.where(x > 0, x, torch.zeros_like(x))
    return sum(a * u**i for i, a in enumerate(block.coefficients))


def polynorm(block, x):
    out = block.coefficients[0] + torch.zeros_like(x)
    for i in range(1, block.degree + 1):
        out += block.coefficients[i] * x**i / ((x ** (2 * i)).mean(-1, keepdim=True) + 1e-6).sqrt()
    return out


NORM = {"removed_equals_zeroed": "the mean square is over the features that are there"}
CONSTANT = ("in", "out")
CASES = {
    "relu": BlockCase(
        make=PolyReLU, example=X, reference=polyrelu, parameters=4, macs=0, elastic=CONSTANT
    ),
    "norm": BlockCase(
        make=PolyNorm, example=X, reference=polynorm, parameters=4, macs=0, elastic=CONSTANT,
        cannot=NORM,
    ),
    "ffn": BlockCase(
        make=lambda: PolyNormFFN(6, 8), example=X, wrong_inputs=[torch.ones(4, 8)],
        reference=lambda block, x: polynorm(block.activation, x @ block.up.weight.T)
        @ block.down.weight.T,
        parameters=2 * 6 * 8 + 4, macs=2 * 6 * 8, elastic=("in", "inside", "out"), cannot=NORM,
    ),
    "power-inside": BlockCase(
        make=lambda: PolyCom(torch.tanh, mode="power_inside"), example=X, elastic=CONSTANT,
        reference=lambda block, x: sum(
            [a * torch.tanh(x**i) for i, a in enumerate(block.coefficients) if i],
            block.coefficients[0],
        ),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_any_coefficients_and_degree(degree):
    for block, formula in (
        (PolyReLU(degree=degree), polyrelu),
        (PolyNorm(degree=degree), polynorm),
    ):
        block = uneven(block).double()
        assert torch.allclose(block(X.double()), formula(block, X.double()), atol=1e-12)


def test_a_narrower_norm_is_over_what_it_has():
    block = uneven(PolyNorm())
    assert torch.allclose(block(X[:, :3]), polynorm(block, X[:, :3]), atol=1e-5)


def test_degree_one_is_relu_and_rms_norm():
    relu, norm = PolyReLU(degree=1), PolyNorm(degree=1, eps=1e-6)
    assert torch.equal(relu(X), torch.relu(X))
    assert torch.allclose(norm(X), nn.functional.rms_norm(X, (6,), eps=1e-6), atol=1e-6)


def test_the_composition_with_relu_outside_is_polyrelu():
    block = uneven(PolyCom(torch.relu))
    other = PolyReLU()
    other.load_state_dict(block.state_dict())
    assert torch.equal(block(X), other(X))


def test_polynorm_does_not_see_the_scale_of_its_input():
    block = uneven(PolyNorm(eps=0.0)).double()
    assert torch.allclose(block(X.double()), block(7.5 * X.double()), atol=1e-12)


def test_half_precision_is_computed_in_single():
    x = torch.full((2, 4), 60.0)  # its cube does not fit float16, its sixth power much less
    norm = PolyNorm()(x.half())
    assert norm.dtype == torch.float16
    assert torch.allclose(norm.float(), torch.ones(2, 4), atol=1e-3)
    relu = PolyReLU()(torch.full((2,), 50.0).half())  # 125,000 before the factor of a third
    assert torch.allclose(relu.float(), torch.full((2,), (50.0 + 50**2 + 50**3) / 3), rtol=1e-3)


def test_coefficients_do_not_decay():
    model = nn.Sequential(PolyNormFFN(6, 8), nn.Linear(6, 2), PolyReLU())
    decayed, kept = parameter_groups(model, 0.1)
    assert {id(p) for p in kept["params"]} == {
        id(model[0].activation.coefficients), id(model[2].coefficients),
    }  # fmt: skip
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))
    torch.optim.AdamW([decayed, kept])


def test_degrees_below_one_are_refused():
    with pytest.raises(BlockError, match="degree=0"):
        PolyNorm(degree=0)
    with pytest.raises(BlockError, match="power_outside"):
        PolyCom(torch.relu, mode="outside")
