"""Product units: powers, their bound, least squares and the readable formula."""

import numpy as np
import pytest
import torch

from supple.blocks.product_unit import (
    ProductUnit,
    ProductUnitNet,
    standard_error_of_prediction,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) + 1


def products(unit, x):
    rows = [[np.prod(row**w) for w in unit.weight.detach().numpy()] for row in x.numpy()]
    return torch.from_numpy(np.array(rows))


CASES = {
    "unit": BlockCase(
        make=lambda: ProductUnit(5, 3), example=X, reference=products,
        wrong_inputs=[torch.ones(4, 3)], parameters=15, macs=15,
    ),
    "net": BlockCase(
        make=lambda: ProductUnitNet(5, 2, hidden_features=3), example=X,
        reference=lambda net, x: products(net.units, x) @ net.head.weight.T + net.head.bias,
        wrong_inputs=[torch.ones(4, 3)], parameters=5 * 3 + 4 * 2, elastic=("in", "inside", "out"),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_exponents_stay_inside_their_bound():
    unit = ProductUnit(1, 1, exponent_bound=2.0)
    with torch.no_grad():
        unit.weight.fill_(10.0)
    assert unit(torch.tensor([[3.0]])).item() == pytest.approx(9.0, rel=1e-6)


def test_inputs_that_are_not_positive_give_numbers():
    unit = ProductUnit(2, 3)
    assert unit(torch.tensor([[0.0, -1.0]])).isfinite().all()


def test_a_power_law_is_recovered_exactly():
    draws = torch.Generator().manual_seed(1)
    x = 1 + torch.rand(200, 2, generator=draws, dtype=torch.float64)
    y = (3 * x[:, 0] ** 2 / x[:, 1] + 2)[:, None]
    torch.manual_seed(0)
    net = ProductUnitNet(2, 1, hidden_features=1).double()
    optimiser = torch.optim.LBFGS(
        net.units.parameters(), max_iter=100, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        net.solve_head(x, y)
        value = (net(x) - y).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    net.solve_head(x, y)
    assert standard_error_of_prediction(net(x), y).item() < 0.01
    assert net.units.weight[0].tolist() == pytest.approx([2, -1], abs=1e-3)


def test_the_head_is_the_least_squares_one():
    draws = torch.Generator().manual_seed(2)
    x = 1 + torch.rand(50, 5, generator=draws, dtype=torch.float64)
    y = torch.randn(50, 2, generator=draws, dtype=torch.float64)
    net = ProductUnitNet(5, 2).double()
    net.solve_head(x, y)
    known = np.column_stack([products(net.units, x).numpy(), np.ones(50)])
    want = np.linalg.lstsq(known, y.numpy(), rcond=None)[0]
    assert np.allclose(net.head.weight.detach().numpy(), want[:-1].T, atol=1e-8)
    assert np.allclose(net.head.bias.detach().numpy(), want[-1], atol=1e-8)
    net.solve_head(x, y, ridge=1e6)
    assert net.head.weight.abs().max() < 1e-3


def test_the_formula_computes_what_the_network_does():
    net = ProductUnitNet(3, 2, hidden_features=2).double()
    lines = net.formula(["a", "b", "c"], digits=15)
    for row in X[:, :3].double():
        values = dict(zip("abc", row.tolist(), strict=True))
        got = [eval(line, {"__builtins__": {}}, values) for line in lines]
        assert got == pytest.approx(net(row).tolist(), rel=1e-9)


def test_the_error_of_prediction_by_hand():
    predicted = torch.tensor([[1.0, 4.0], [3.0, 4.0]])
    target = torch.tensor([[2.0, 4.0], [2.0, 8.0]])
    want = [50.0, 100 * (8.0**0.5) / 6]
    assert standard_error_of_prediction(predicted, target).tolist() == pytest.approx(want)
    with pytest.raises(BlockError, match="mean zero"):
        standard_error_of_prediction(predicted, torch.tensor([[1.0, 1.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("settings", [{"exponent_bound": 0}, {"smallest": float("inf")}])
def test_bounds_that_make_no_sense_are_refused(settings):
    with pytest.raises(BlockError, match="finite number above zero"):
        ProductUnit(2, 1, **settings)
