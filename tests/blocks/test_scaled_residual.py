"""Scaled residual towers and their expansion in the scale."""

import itertools
import math

import pytest
import torch
from torch import nn

from supple.blocks.scaled_residual import (
    ScaledResidual,
    ScaledResidualTower,
    geometric_complexity,
    order_contributions,
    residual_expansion,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def branch():
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6))


def tower_of(scale):
    return lambda: ScaledResidualTower([branch() for _ in range(4)], scale=scale)


def in_a_row(tower, x):
    n = tower.active_depth
    fixed = {"1/n": 1 / n, "1/sqrt_n": n**-0.5, 0.3: 0.3}.get(tower.scale)
    for i, one in enumerate(tower.branches):
        x = x + (tower.scales[i] if fixed is None else fixed) * one(x)
    return x


EVERYWHERE = ("in", "inside", "out", "depth")
CASES = {
    "tower": BlockCase(
        make=tower_of("1/sqrt_n"), example=X, reference=in_a_row, elastic=EVERYWHERE,
        parameters=4 * (6 * 5 + 5 + 5 * 6 + 6), macs=4 * 60,
    ),
    "learned": BlockCase(
        make=lambda: ScaledResidual(branch(), scale="learnable"), example=X, elastic=EVERYWHERE,
        reference=lambda block, x: x + block.scale * block.branch(x), parameters=72,
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("scale", ["1/n", "1/sqrt_n", 0.3, "learnable"])
def test_every_rule_scales_every_branch(scale):
    tower = tower_of(scale)()
    if tower.scales is not None:
        assert torch.equal(tower(X), X)  # learned scales start at zero
        nn.init.normal_(tower.scales)
    assert torch.allclose(tower(X), in_a_row(tower, X), atol=1e-6)


def test_the_scale_follows_the_active_depth():
    tower = tower_of("1/sqrt_n")()
    tower.active_depth = 2
    shorter = ScaledResidualTower(tower.branches[:2], scale="1/sqrt_n")
    assert torch.equal(tower(X), shorter(X))
    with pytest.raises(BlockError, match="1 to 4"):
        tower.active_depth = 5


def test_a_block_has_the_scale_of_its_depth():
    for rule, want in (("1/n", 1 / 9), ("1/sqrt_n", 1 / 3), (0.2, 0.2)):
        block = ScaledResidual(nn.Identity(), scale=rule, depth=9)
        assert torch.allclose(block(X), (1 + want) * X)


def linear_branches(count):
    draws = torch.Generator().manual_seed(1)
    return [torch.randn(6, 6, generator=draws, dtype=torch.float64) / 3 for _ in range(count)]


def test_linear_branches_give_elementary_symmetric_terms():
    matrices = linear_branches(5)
    branches = [lambda x, a=a: x @ a.T for a in matrices]
    x, scale = X.double(), 0.4
    terms = order_contributions(branches, x, scale, max_order=4)
    for order, term in enumerate(terms):
        total = torch.zeros(6, 6, dtype=torch.float64)
        for picked in itertools.combinations(range(5), order):
            product = torch.eye(6, dtype=torch.float64)
            for i in picked:
                product = matrices[i] @ product
            total += product
        assert torch.allclose(term, scale**order * x @ total.T, atol=1e-10)
    assert torch.allclose(sum(terms[:3]), residual_expansion(branches, x, scale), atol=1e-12)


def test_equal_commuting_branches_give_binomial_coefficients():
    terms = order_contributions([lambda x: x] * 7, torch.ones(1).double(), 1.0, max_order=4)
    assert [t.item() for t in terms] == [math.comb(7, k) for k in range(5)]


def test_the_error_of_the_second_order_falls_with_the_cube():
    torch.manual_seed(0)
    branches = [branch().double() for _ in range(6)]
    x = X.double()
    errors = []
    with torch.no_grad():
        for scale in (0.02, 0.01):
            exact = ScaledResidualTower(branches, scale=scale)(x)
            errors.append((exact - residual_expansion(branches, x, scale)).norm().item())
            terms = order_contributions(branches, x, scale, max_order=2)
            assert torch.allclose(sum(terms), residual_expansion(branches, x, scale), atol=1e-12)
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("order", "want"), [(0, 1.0), (1, 2.0), (2, 2.25)])
def test_lower_orders_leave_terms_out(order, want):
    branches = [lambda x: 0.5 * x] * 2
    assert residual_expansion(branches, torch.ones(1), 1.0, order=order).item() == want


def test_geometric_complexity_is_the_norm_of_the_jacobian():
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x = X.double()
    jacobian = torch.func.vmap(torch.func.jacrev(net))(x)
    exact = jacobian.square().sum((1, 2)).mean().item()
    draws = torch.Generator().manual_seed(0)
    got = geometric_complexity(net, x, probes=4000, generator=draws)
    assert got == pytest.approx(exact, rel=0.03)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(BlockError, match="order=3"):
        residual_expansion([], X, 1.0, order=3)
    with pytest.raises(BlockError, match="max_order=-1"):
        order_contributions([], X, 1.0, max_order=-1)
    with pytest.raises(BlockError, match="1/sqrt_n"):
        ScaledResidual(nn.Identity(), scale="1/sqrtn")
    with pytest.raises(BlockError, match="finite"):
        ScaledResidual(nn.Identity(), scale=math.inf)
    with pytest.raises(BlockError, match=r"\(4, 6\) into \(4, 5\)"):
        ScaledResidual(nn.Linear(6, 5))(X)
