"""AF-KAN: the expansion, its three reductions, and what a sample may depend on."""

import pytest
import torch

from supple.blocks.kan.af_kan import ACTIVATIONS, AFKAN, FUNCTIONS, AFKANLinear
from supple.blocks.kan.bases import ReLUBump
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))


def silu(x):
    return x / (1 + torch.exp(-x))


def sample_by_sample(layer, x):
    """The formulas for one sample at a time, in loops over inputs."""
    rows = []
    for row in x:
        e = torch.stack([(silu(v - layer.low) * silu(layer.high - v)) ** 2 for v in row])
        e = e / (e**2).sum() ** 0.5
        e = (e - e.min()) / (e.max() - e.min())
        score, bias = layer.score.weight, layer.score.bias
        if layer.reduce == "global_attn":
            logits = (e @ score[0] + bias) / layer.temperature.clamp_min(1)
            share = torch.exp(logits) / torch.exp(logits).sum()
            h = (e * share[:, None]).sum(1)
        elif layer.reduce == "multistep":
            h = e @ score[0] + bias
        else:
            padded = torch.cat([torch.zeros_like(e[:1]), e, torch.zeros_like(e[:1])])
            logits = torch.stack(
                [sum(padded[i + t] * score[:, 0, t] for t in range(3)) for i in range(len(e))]
            )
            share = torch.exp(logits + bias)
            h = (e * share / share.sum(1, keepdim=True)).sum(1)
        h = (h - h.mean()) / (h.var(correction=0) + 1e-5) ** 0.5
        rows.append(silu(h * layer.norm.weight + layer.norm.bias) @ layer.weight.T)
    return torch.stack(rows)


NORM = {"removed_equals_zeroed": "norms and extremes are over what is there"}
CASES = {
    "global_attn": BlockCase(
        make=lambda: AFKANLinear(5, 4), example=X, reference=sample_by_sample,
        wrong_inputs=[torch.ones(4, 6)],
        parameters=5 * 4 + 2 * 5 + (6 + 1) + 2 * 6 + 1, macs=5 * 4 + 5 * 6,
        elastic=("inside", "out"),
        cannot=NORM,
    ),
    "multistep": BlockCase(
        make=lambda: AFKANLinear(5, 4, reduce="multistep"), example=X,
        elastic=("in", "inside", "out"),
        reference=sample_by_sample, wrong_inputs=[torch.ones(4, 6)],
        parameters=5 * 4 + 2 * 5 + (6 + 1) + 2 * 6, cannot=NORM,
    ),
    "spatial_attn": BlockCase(
        make=lambda: AFKANLinear(5, 4, reduce="spatial_attn"), example=X,
        reference=sample_by_sample, wrong_inputs=[torch.ones(4, 6)], elastic=("out",),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_with_relu_the_expansion_is_the_basis_of_relu_kan():
    grid, order = 4, 2
    layer = AFKANLinear(5, 4, grid_size=grid, spline_order=order, activation="relu").double()
    bumps = ReLUBump(grid=grid, order=order, low=0.0, high=1.0).double()
    x = torch.rand(50, 5, dtype=torch.float64)
    scale = (4 * grid**2 / (order + 1) ** 2) ** 2
    assert torch.allclose(layer.expand(x) * scale, bumps(x), atol=1e-12)


def test_the_released_norm_depends_on_the_batch_and_the_default_does_not():
    for feature_norm, alone_is_alike in (("sample", True), ("none", True), ("batch", False)):
        layer = AFKANLinear(5, 4, feature_norm=feature_norm)
        same = torch.allclose(layer(X)[:1], layer(X[:1]), atol=1e-6)
        assert same is alone_is_alike


def test_an_input_without_spread_gives_numbers():
    layer = AFKANLinear(1, 2, grid_size=1, spline_order=1, func="sum", activation="relu")
    with torch.no_grad():
        layer.low.fill_(0.0)
        layer.high.fill_(1.0)
    assert layer(torch.zeros(2, 1)).isfinite().all()


@pytest.mark.parametrize("func", FUNCTIONS)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_every_function_joins_two_activations(func, activation):
    layer = AFKANLinear(5, 4, func=func, activation=activation).double()
    x = X.double()
    a = ACTIVATIONS[activation](x[..., None] - layer.low)
    b = ACTIVATIONS[activation](layer.high - x[..., None])
    want = {
        "quad1": (a * b) ** 2, "quad2": a * b + a**2 + b**2, "sum": a + b, "prod": a * b,
        "sum_prod": a + b + a * b, "cubic1": (a + b) * (a**2 + b**2), "cubic2": (a * b) ** 3,
    }[func]  # fmt: skip
    assert torch.allclose(layer.expand(x), want, atol=1e-12)


def test_more_dimensions_in_front_are_kept():
    x = torch.randn(2, 3, 5)
    for reduce in ("global_attn", "spatial_attn", "multistep"):
        layer = AFKANLinear(5, 4, reduce=reduce)
        assert torch.allclose(layer(x)[1], layer(x[1]), atol=1e-6)
        assert torch.allclose(layer(x)[1, 2], layer(x[1, 2]), atol=1e-6)


def test_several_layers():
    net = AFKAN([5, 3, 2], func="prod")
    assert net(X).shape == (4, 2)
    net.reset_parameters()
    assert net[0].func == "prod"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"func": "quad3"}, "quad"), ({"reduce": "attn"}, "attn"), ({"grid_size": 0}, "grid_size=0")],
)
def test_settings_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(BlockError, match=message):
        AFKANLinear(5, 4, **settings)
