"""KANLinear and KANConv2d: the sum over edges, for every base."""

import pytest
import torch
import torch.nn.functional as F

from supple.blocks.kan.bases import BASES
from supple.blocks.kan.kan_linear import KAN, KANConv2d, KANLinear
from supple.testing import BlockCase, parametrize_blocks


def edge_by_edge(layer, x):
    """One function of one variable after another."""
    out = torch.zeros(len(x), layer.out_features, dtype=x.dtype)
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            out[:, o] += layer.basis(x[:, i]) @ layer.weight[o, i]
            if layer.base_weight is not None:
                out[:, o] += layer.base_weight[o, i] * F.silu(x[:, i])
    return out if layer.bias is None else out + layer.bias


def window_by_window(layer, x):
    unfolded = F.unfold(torch.ones_like(x), layer.kernel_size, padding=1)  # 0 in the border
    pixels = F.unfold(x, layer.kernel_size, padding=1)
    values = layer.basis(pixels) * unfolded[..., None]  # batch, in k k, places, functions
    weight = layer.weight.permute(0, 1, 3, 4, 2).flatten(1, 3)
    out = torch.einsum("bipm,oim->bop", values, weight) + layer.bias[:, None]
    return out.view(len(x), layer.out_channels, *x.shape[2:])


X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
LEARNED = {"wavelet": 16, "relu_bump": 16}
CASES = {
    name: BlockCase(
        make=lambda name=name: KANLinear(5, 4, basis=name),
        example=X, reference=edge_by_edge,
        wrong_inputs=[torch.ones(4, 6)],
        parameters=5 * 4 * BASES[name]().size + 4 + (20 if name == "bspline" else 0)
        + LEARNED.get(name, 0),
        elastic=("in", "inside", "out") if name != "chebyshev" else ("in", "out"),
        macs=5 * 4 * (BASES[name]().size + (name == "bspline")),
    )
    for name in ("bspline", "chebyshev", "fourier", "rbf", "relu_bump")
} | {
    "conv": BlockCase(
        make=lambda: KANConv2d(2, 4, 3, padding=1, basis="rbf", count=3),
        example=IMAGE, channel_dim=1, reference=window_by_window,
        wrong_inputs=[torch.ones(3, 3, 5, 4), torch.ones(2, 5, 4)],
        parameters=2 * 4 * 3 * 9 + 4, elastic=("in", "inside", "out"),
    )
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("name", ["wavelet", "jacobi", "silu"])
def test_the_other_bases_are_sums_over_edges_too(name):
    layer = KANLinear(5, 4, basis=name, bias=False)
    assert torch.allclose(layer(X), edge_by_edge(layer, X), atol=1e-5)


@pytest.mark.parametrize("name", BASES)
def test_outputs_start_with_variance_one_whatever_the_base(name):
    torch.manual_seed(0)
    layer = KANLinear(64, 256, basis=name)
    variance = layer(torch.randn(2000, 64)).square().mean().item()
    assert variance == pytest.approx(1, rel=0.1)


def test_more_dimensions_in_front_are_kept():
    layer = KANLinear(5, 4)
    x = torch.randn(2, 3, 5)
    assert torch.allclose(layer(x)[1, 2], layer(x[1, 2][None])[0], atol=1e-6)


def test_a_kan_is_its_layers_in_a_row():
    net = KAN([5, 3, 2], basis="chebyshev", degree=2)
    assert torch.equal(net(X), net[1](net[0](X)))
    net.reset_parameters()
    assert (net.in_features, net.out_features) == (5, 2)
