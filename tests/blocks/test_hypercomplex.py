"""Hypercomplex layers against Kronecker products and products of quaternions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.blocks.hypercomplex import (
    ALGEBRAS,
    PHConv1d,
    PHConv2d,
    PHConv3d,
    PHMLinear,
    nearest_phm,
    to_hypercomplex,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def kronecker(layer):
    """The weight, one Kronecker product and one place of the window after another."""
    window = layer.blocks.shape[3:]
    places = layer.blocks.flatten(3) if window else layer.blocks[..., None]
    weight = torch.stack(
        [
            sum(torch.kron(layer.rules[i], places[i, ..., w]) for i in range(layer.n))
            for w in range(places.shape[-1])
        ],
        -1,
    )
    return weight.reshape(*weight.shape[:2], *window)


def convolved(layer, x):
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[layer.dims]
    return convolve(x, kronecker(layer), layer.bias, layer.stride, layer.padding, layer.dilation)


def draws(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def linear(layer, x):
    return x @ kronecker(layer).T + layer.bias


ALL = ("in", "inside", "out")
CASES = {
    "linear-2": BlockCase(
        make=lambda: PHMLinear(6, 8, n=2), example=draws(5, 6), reference=linear,
        wrong_inputs=[torch.ones(5, 8)], parameters=2**3 + 6 * 8 // 2 + 8, elastic=ALL,
    ),
    "linear-1": BlockCase(
        make=lambda: PHMLinear(3, 5, n=1), example=draws(5, 3),
        reference=lambda layer, x: F.linear(x, (layer.rules * layer.blocks)[0], layer.bias),
        wrong_inputs=[torch.ones(3)[:2]], parameters=1 + 15 + 5,
    ),
    "quaternion": BlockCase(
        make=lambda: PHMLinear(8, 4, n=4, algebra="quaternion"), example=draws(5, 8),
        reference=linear, wrong_inputs=[torch.ones(5, 4)], parameters=8 * 4 // 4 + 4,
        elastic=ALL,
    ),
    "conv2d": BlockCase(
        make=lambda: PHConv2d(6, 6, 3, n=3, padding=1, stride=2), example=draws(3, 6, 5, 4),
        channel_dim=1, reference=convolved, parameters=3**3 + 6 * 6 * 9 // 3 + 6, elastic=ALL,
        wrong_inputs=[torch.ones(3, 3, 5, 4), torch.ones(6, 5, 4)],
    ),
    "conv1d": BlockCase(
        make=lambda: PHConv1d(4, 4, 3, n=2, dilation=2), example=draws(3, 4, 7),
        channel_dim=1, reference=convolved, elastic=ALL, wrong_inputs=[torch.ones(3, 4)],
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_three_dimensions_are_kronecker_products_too():
    layer = PHConv3d(4, 2, (1, 2, 3), n=2, bias=False)
    x = draws(2, 4, 3, 4, 5)
    assert torch.allclose(layer(x), F.conv3d(x, kronecker(layer)), atol=1e-5)


def hamilton(p, q):
    a1, b1, c1, d1 = p.unbind(-1)
    a2, b2, c2, d2 = q.unbind(-1)
    return torch.stack(
        [
            a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
            a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
            a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
            a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
        ],
        -1,
    )


def test_the_quaternion_layer_multiplies_by_a_quaternion():
    layer = PHMLinear(4, 4, n=4, algebra="quaternion", bias=False).double()
    q = draws(7, 4).double()
    p = layer.blocks.flatten()
    assert torch.allclose(layer(q), hamilton(p.expand_as(q), q), atol=1e-12)


def test_the_complex_layer_multiplies_complex_matrices():
    layer = PHMLinear(6, 4, n=2, algebra="complex", bias=False).double()
    x = draws(5, 6).double()
    weight = torch.complex(layer.blocks[0], layer.blocks[1])
    want = torch.complex(x[:, :3], x[:, 3:]) @ weight.T
    assert torch.allclose(layer(x), torch.cat([want.real, want.imag], 1), atol=1e-12)


def test_tessarines_commute_and_quaternions_do_not():
    for algebra, commutes in (("tessarine", True), ("quaternion", False)):
        rules = torch.tensor(ALGEBRAS[algebra])
        for i in range(4):
            for j in range(4):
                same = torch.equal(rules[i] @ rules[j], rules[j] @ rules[i])
                assert same or not commutes
        assert torch.equal(rules[0], torch.eye(4))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_weights_start_at_the_variance_of_he(n):
    torch.manual_seed(0)
    layer = PHMLinear(256, 512, n=n)
    assert layer.materialize().var().item() == pytest.approx(2 / 256, rel=0.15)
    fixed = PHMLinear(256, 512, algebra="quaternion")
    assert fixed.materialize().var().item() == pytest.approx(2 / 256, rel=0.05)


@pytest.mark.parametrize("window", [(), (3, 3)])
def test_the_nearest_weight_of_a_hypercomplex_one_is_itself(window):
    layer = PHConv2d(6, 3, 3, n=3) if window else PHMLinear(6, 3, n=3)
    weight = layer.double().materialize().detach()
    rules, blocks = nearest_phm(weight, 3)
    layer.rules.data, layer.blocks.data = rules, blocks
    assert torch.allclose(layer.materialize(), weight, atol=1e-12)


def test_no_other_rules_are_nearer():
    weight = draws(4, 6).double()
    layer = PHMLinear(6, 4, n=2, bias=False).double()
    layer.rules.data, layer.blocks.data = nearest_phm(weight, 2)
    best = (layer.materialize() - weight).square().sum().item()
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200)
    for seed in range(3):
        torch.manual_seed(seed)
        layer.reset_parameters()

        def loss():
            optimiser.zero_grad()
            value = (layer.materialize() - weight).square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        assert (layer.materialize() - weight).square().sum().item() >= best - 1e-9


def test_a_model_is_changed_where_n_divides():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(8, 6), nn.Linear(6, 4),
    )  # fmt: skip
    made = to_hypercomplex(model, 2, skip=("5",))
    assert [type(m).__name__ for m in made] == [
        "PHConv2d", "ReLU", "Conv2d", "Flatten", "PHMLinear", "Linear",
    ]  # fmt: skip
    assert type(model[0]) is nn.Conv2d
    x = draws(2, 4, 5, 5)
    assert made(x).shape == model(x).shape
    exact = to_hypercomplex(model, 1)  # every weight is hypercomplex of order one
    assert torch.allclose(exact(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 4}, "an n that divides both: 1, 2"),
        ({"n": 2, "algebra": "quaternion"}, "n=4"),
        ({"n": 2, "algebra": "octonion"}, "octonion"),
        ({"n": 0}, "n=0"),
    ],
)
def test_algebras_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(BlockError, match=message):
        PHMLinear(6, 4, **settings)
    with pytest.raises(BlockError, match="2 dimensions"):
        PHConv2d(4, 4, (3,), n=2)
