"""Kolmogorov-Arnold attention: the operator in loops, the simplex, and sharing."""

import copy
import math

import pytest
import scipy.optimize
import torch
from torch import nn

from supple.blocks.kolmogorov_arnold_attention import (
    KolmogorovArnoldAttention,
    KolmogorovArnoldOperator,
    simplex_projection,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))


def fourier_row(operator, head, row):
    """One row through one head, function by function."""
    grid = operator.basis.grid
    phi = []
    for p in range(operator.rank):
        value = 0.0
        for q, u in enumerate(row):
            a = operator.coefficients[head, p, q, :grid]
            b = operator.coefficients[head, p, q, grid:]
            for m in range(1, grid + 1):
                value = value + a[m - 1] * math.cos(m * u) + b[m - 1] * math.sin(m * u)
            extra = {"none": 0.0, "identity": u, "silu": u / (1 + math.exp(-u))}
            value = value + extra[operator.base]
        phi.append(value)
    return operator.weight[head] @ torch.stack(phi)


def in_loops(layer, x):
    size = layer.in_features // layer.num_heads
    outputs = []
    for sample in x:
        q, k, v = (part(sample) for part in (layer.query, layer.key, layer.value))
        heads = []
        for h in range(layer.num_heads):
            own = slice(h * size, (h + 1) * size)
            scores = q[:, own] @ k[:, own].T / math.sqrt(size)
            rows = torch.stack([fourier_row(layer.operator, h, r.tolist()) for r in scores])
            if layer.operator.simplex:
                rows = simplex_projection(rows)
            heads.append(rows @ v[:, own])
        outputs.append(layer.out(torch.cat(heads, 1)))
    return torch.stack(outputs)


CASES = {
    "fourier": BlockCase(
        make=lambda: KolmogorovArnoldAttention(6, 2, 4, rank=3, grid_size=2),
        example=X, reference=in_loops,
        wrong_inputs=[torch.ones(3, 5, 6), torch.ones(4, 6), torch.ones(3, 4, 5)],
        parameters=4 * (36 + 6) + 2 * 4 * 3 * 2 * 2 + 4 * 3 * 2,
        macs=4 * 4 * 36 + 2 * 4 * 4 * (3 + 3) + 2 * 4 * 4 * 3 * (4 + 1),
        elastic=("in", "inside", "out"),
    ),
    "simplex": BlockCase(
        make=lambda: KolmogorovArnoldAttention(
            6, 2, 4, rank=3, grid_size=1, base="silu", simplex=True
        ),
        example=X, reference=in_loops, elastic=("in", "inside", "out"),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_full_rank_with_an_identity_is_the_general_form():
    operator = KolmogorovArnoldOperator(num_heads=1, seq_len=4, rank=4, grid_size=2).double()
    with torch.no_grad():
        operator.weight.copy_(torch.eye(4))
    row = torch.randn(4, dtype=torch.float64)
    want = [operator.basis(row).mul(operator.coefficients[0, p]).sum() for p in range(4)]
    assert torch.allclose(operator(row[None, None, None])[0, 0, 0], torch.stack(want), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_projection_is_the_nearest_probability(seed):
    y = 2 * torch.randn(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = scipy.optimize.minimize(
        lambda p: ((p - y.numpy()) ** 2).sum(), [0.2] * 5, bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1}, tol=1e-14,
    )  # fmt: skip
    got = simplex_projection(y)
    assert got.tolist() == pytest.approx(found.x.tolist(), abs=1e-5)
    assert torch.allclose(simplex_projection(got), got, atol=1e-12)


def test_projected_rows_are_probabilities_in_any_dimension():
    y = torch.randn(3, 4, 5)
    for dim in (0, 1, -1):
        p = simplex_projection(y, dim)
        assert torch.allclose(p.sum(dim), torch.ones_like(p.sum(dim)), atol=1e-6)
        assert (p >= 0).all()
        moved = simplex_projection(y.movedim(dim, -1)).movedim(-1, dim)
        assert torch.allclose(p, moved)


@pytest.mark.parametrize("basis", ["wavelet", "bspline", "chebyshev"])
def test_other_bases_run(basis):
    layer = KolmogorovArnoldAttention(6, 2, 4, basis=basis, grid_size=None)
    assert layer(X).isfinite().all()


class Shared(nn.Module):
    """Two layers with one operator, registered once."""

    def __init__(self):
        super().__init__()
        self.operator = KolmogorovArnoldOperator(num_heads=2, seq_len=4, rank=3)
        self.layers = nn.ModuleList(
            KolmogorovArnoldAttention(6, 2, 4, shared=self.operator) for _ in range(2)
        )

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_a_shared_operator_is_stored_once_and_follows_its_owner():
    net = Shared()
    assert all(layer.operator is net.operator for layer in net.layers)
    assert sum("coefficients" in name for name in net.state_dict()) == 1
    twin = copy.deepcopy(net)
    assert twin.layers[1].operator is twin.operator
    assert twin.operator is not net.operator
    assert net.double()(X.double()).dtype == torch.float64
    net.float()(X).sum().backward()
    assert net.operator.coefficients.grad is not None
    program = torch.export.export(net, (X,), strict=False).module()
    assert torch.allclose(program(X), net(X), atol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(BlockError, match="embed_dim=6"):
        KolmogorovArnoldAttention(7, 2, 4)
    operator = KolmogorovArnoldOperator(num_heads=2, seq_len=5)
    with pytest.raises(BlockError, match="5 tokens"):
        KolmogorovArnoldAttention(6, 2, 4, shared=operator)
    with pytest.raises(BlockError, match="'silu'"):
        KolmogorovArnoldAttention(6, 2, 4, base="slu")
