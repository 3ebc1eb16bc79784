"""Scalable kernels against closed forms, plain ridge regression and the layers they replace."""

import math

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from supple.blocks.snnk import (
    FullyBundled,
    SNNKAdapter,
    SNNKLinear,
    arc_cosine_kernel,
    bundle,
    random_directions,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(block, x):
    """Feature by feature, with complex numbers for the Fourier forms."""
    if block.kernel == "relu":
        given = torch.cat((x, torch.ones_like(x[..., :1])), -1) if block.bias else x
        total = 0
        for m, g in enumerate(block.directions):
            total = total + torch.relu(given @ g)[..., None] * block.psi[:, m]
        return total / math.sqrt(block.num_features)
    root = complex(1, 1) / math.sqrt(2)  # of i
    total = 0
    for m, g in enumerate(block.directions):
        phi = torch.exp(root * (x @ g) - 0.5j * (x * x).sum(-1))[..., None]
        psi = torch.complex(block.psi[:, m], -block.psi[:, m + block.num_features])
        total = total + (phi * psi).real
    return total / math.sqrt(block.num_features)


CASES = {
    "relu": BlockCase(
        make=lambda: SNNKLinear(in_features=6, out_features=3, num_features=16),
        example=drawn(4, 6),
        reference=by_hand,
        wrong_inputs=[drawn(2, 5)],
        parameters=3 * 16,
        elastic=("in", "out", "inside"),
        cannot={"removed_equals_zeroed": "fewer features are scaled by their own number"},
    ),
    "sin": BlockCase(
        make=lambda: SNNKLinear(in_features=6, out_features=3, num_features=8, kernel="sin"),
        example=drawn(4, 6) * 0.3,
        reference=by_hand,
        wrong_inputs=[drawn(2, 5)],
        parameters=3 * 2 * 8,
        elastic=("in", "out", "inside"),
        cannot={"removed_equals_zeroed": "fewer features are scaled by their own number"},
    ),
    "adapter": BlockCase(
        make=lambda: SNNKAdapter(d_model=6, num_features=4),
        example=drawn(4, 6),
        reference=lambda block, x: x + by_hand(block.layer, x),
        wrong_inputs=[drawn(2, 5)],
        parameters=6 * 4,
        elastic=("in", "out", "inside", "depth"),
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def estimates(kernel, count, x, weight, bias):
    """Mean and standard error of the kernel over independent directions."""
    found = []
    for seed in range(count):
        block = SNNKLinear(
            in_features=3, out_features=4, num_features=64, kernel=kernel, seed=seed
        ).double()
        exact = SNNKLinear(
            in_features=3, out_features=4, num_features=64, kernel=kernel, seed=seed,
            dtype=torch.float64,
        )  # fmt: skip
        block.directions.copy_(exact.directions)
        block.set_weights(weight, bias)
        found.append(block(x).detach())
    stacked = torch.stack(found)
    return stacked.mean(0), stacked.std(0) / math.sqrt(count)


@pytest.mark.parametrize("kernel", ["cos", "sin", "relu"])
def test_features_meet_in_the_closed_form(kernel):
    x, weight = drawn(5, 3).double() * 0.5, drawn(4, 3, seed=1).double() * 0.5
    bias = drawn(4, seed=2).double() * 0.5
    if kernel == "relu":
        ones = torch.ones(5, 1).double()
        want = arc_cosine_kernel(torch.cat((x, ones), 1), torch.cat((weight, bias[:, None]), 1))
    else:
        want = getattr(torch, kernel)(x @ weight.T + bias)
    mean, error = estimates(kernel, 200, x, weight, bias)
    assert ((mean - want).abs() < 4 * error).all()
    assert error.max() < 0.05


def test_the_arc_cosine_kernel_is_an_integral():
    """E relu(g.x) relu(g.w) over Gaussian g, on a fine grid of the plane."""
    x, w = torch.tensor([[0.8, -0.3]]).double(), torch.tensor([[0.2, 1.1]]).double()
    axis = torch.linspace(-8, 8, 1601).double()
    g = torch.cartesian_prod(axis, axis)
    density = torch.exp(-g.square().sum(1) / 2) / (2 * math.pi) * 0.01**2
    want = (torch.relu(g @ x[0]) * torch.relu(g @ w[0]) * density).sum()
    assert arc_cosine_kernel(x, w).item() == pytest.approx(want.item(), rel=1e-4)


def test_orthogonal_directions_vary_less():
    x, w = drawn(1, 8).double(), drawn(1, 8, seed=1).double()

    def spread(is_orthogonal):
        values = []
        for seed in range(300):
            g = random_directions(
                8, 8, is_orthogonal=is_orthogonal, generator=torch.Generator().manual_seed(seed)
            )
            values.append((torch.relu(g @ x[0]) * torch.relu(g @ w[0])).mean())
        return float(torch.stack(values).var())

    assert spread(True) < spread(False)


def test_bundling_a_linear_network_is_exact():
    net = nn.Sequential(nn.Linear(5, 40), nn.Identity(), nn.Linear(40, 3)).double()
    small = bundle(net, start=0, num_features=1, kernel="linear")
    x = drawn(7, 5).double()
    assert torch.allclose(small(x), net(x), atol=1e-12)
    assert sum(p.numel() for p in small.parameters()) == 3 * 6 + 3


def test_bundling_fitted_on_inputs_beats_bundling_blindly():
    net = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)).double()
    x = drawn(400, 5).double()
    errors = []
    for inputs in (None, x):
        small = bundle(net, start=0, num_features=64, inputs=inputs)
        errors.append(float(((small(x) - net(x)).norm() / net(x).norm()).detach()))
    assert errors[1] < 0.2
    assert errors[1] < errors[0]


def test_ridge_is_scikit_learns():
    x, y = drawn(60, 5).double(), drawn(60, 2, seed=1).double()
    block = FullyBundled(
        in_features=5, out_features=2, num_features=(20, 10), dtype=torch.float64
    ).fit_ridge(x, y, ridge=0.3)
    other = Ridge(alpha=0.3, fit_intercept=False).fit(block.features(x).numpy(), y.numpy())
    assert torch.allclose(block.theta, torch.from_numpy(other.coef_), atol=1e-8)
    features = block.levels[1].features(block.levels[0].features(x))
    assert torch.equal(block(x), features @ block.theta.T)


def test_directions_follow_the_seed_and_half_the_features_are_scaled():
    made = [SNNKLinear(in_features=4, out_features=2, num_features=8, seed=s) for s in (1, 1, 2)]
    assert torch.equal(made[0].directions, made[1].directions)
    assert not torch.equal(made[0].directions, made[2].directions)


def test_errors():
    with pytest.raises(BlockError, match="num_features"):
        SNNKLinear(in_features=4, out_features=2, num_features=0)
    with pytest.raises(BlockError, match="kernel"):
        SNNKLinear(in_features=4, out_features=2, num_features=4, kernel="tanh")
    with pytest.raises(BlockError, match="linear layer, an activation"):
        bundle(nn.Sequential(nn.Linear(2, 2)), start=0, num_features=2)
