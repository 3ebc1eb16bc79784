"""S-KAN: the mixture, its selection, and the pruned layer that is left."""

import pytest
import torch
import torch.nn.functional as F

from supple.blocks.kan.kan_linear import KANConv2d, KANLinear
from supple.blocks.kan.s_kan import (
    POOL,
    SelectableKANConv2d,
    SelectableKANLinear,
    SelectionSchedule,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))


def base_by_base(layer, x):
    """The mixture of plain layers, one after another."""
    shares = layer.mixture()
    out = 0
    for k, base in enumerate(layer.bases):
        if isinstance(layer, SelectableKANLinear):
            one = torch.einsum("bim,oim->bo", base(x), layer.weights[k])
            out = out + shares[:, k] * one
        else:
            features = base(x).permute(0, 1, 4, 2, 3).flatten(1, 2)
            one = F.conv2d(features, layer.weights[k].flatten(1, 2), padding=layer.padding)
            out = out + shares[:, k].view(-1, 1, 1) * one
    bias = layer.bias if isinstance(layer, SelectableKANLinear) else layer.bias.view(-1, 1, 1)
    return out + bias


def uneven(layer):
    """Logits away from their first zeros."""
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        layer.logits.copy_(torch.randn(layer.logits.shape, generator=draws))
    return layer


def hardened():
    return uneven(SelectableKANLinear(5, 6, bases=["rbf", "silu"])).harden()


CASES = {
    "linear": BlockCase(
        make=lambda: SelectableKANLinear(5, 4, bases=["rbf", "chebyshev", "wavelet"]),
        example=X, reference=base_by_base, wrong_inputs=[torch.ones(4, 6)],
        parameters=5 * 4 * (8 + 5 + 8) + 16 + 4 * 3 + 4,
        elastic=("in", "inside", "out"),
    ),
    "conv": BlockCase(
        make=lambda: SelectableKANConv2d(
            2, 4, 3, padding=1, bases=["silu", "chebyshev"], granularity="layer"
        ),
        example=IMAGE, channel_dim=1, reference=base_by_base,
        wrong_inputs=[torch.ones(3, 3, 5, 4)], parameters=2 * 4 * 9 * (1 + 5) + 2 + 4,
    ),
    "hardened": BlockCase(
        make=hardened, example=X, wrong_inputs=[torch.ones(4, 6)], elastic=("in", "inside", "out"),
        reference=lambda layer, x: torch.cat([p(x) for p in layer.parts], 1)[:, layer.position],
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("name", POOL)
def test_a_pool_of_one_is_the_plain_layer(name):
    layer = SelectableKANLinear(5, 4, bases=[name])
    base = layer.bases[0]
    plain = KANLinear(5, 4, basis=base, residual=False)
    with torch.no_grad():
        plain.weight.copy_(layer.weights[0])
        base.load_state_dict(layer.bases[0].state_dict())
    assert torch.equal(layer(X), plain(X))


@pytest.mark.parametrize("granularity", ["node", "layer"])
def test_the_pruned_layer_is_the_mixture_with_one_base_each(granularity):
    for layer, x in (
        (SelectableKANLinear(5, 6, granularity=granularity), X),
        (SelectableKANConv2d(2, 6, 3, padding=1, granularity=granularity), IMAGE),
    ):
        layer = uneven(layer).double()
        pruned = layer.harden()
        layer.one_hot()
        assert torch.allclose(pruned(x.double()), layer(x.double()), atol=1e-12)
        parts = {type(part) for part in pruned.parts}
        assert parts <= {KANLinear, KANConv2d}
        mine = sum(p.numel() for p in pruned.parameters())
        assert mine < sum(p.numel() for p in layer.parameters()) / 2


def test_every_node_keeps_its_strongest_base():
    layer = uneven(SelectableKANLinear(5, 6))
    want = [layer.names[k] for k in layer.logits.argmax(1).tolist()]
    assert layer.selected() == want
    assert len(set(want)) > 1


def test_temperature_sharpens_the_mixture():
    layer = uneven(SelectableKANLinear(5, 6))
    soft = layer.mixture().max(1).values
    layer.temperature.fill_(0.1)
    assert (layer.mixture().max(1).values > soft).all()
    assert torch.allclose(layer.mixture().sum(1), torch.ones(6))


def test_outputs_of_all_bases_start_at_one_scale():
    torch.manual_seed(0)
    x = torch.randn(2000, 64)
    for name in POOL:
        layer = SelectableKANLinear(64, 128, bases=[name])
        assert layer(x).square().mean().item() == pytest.approx(1, rel=0.1)


def test_the_stages_follow_their_shares():
    schedule = SelectionSchedule()
    assert [schedule.stage(p) for p in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [
        "full", "full", "select", "select", "finetune", "finetune",
    ]  # fmt: skip
    assert schedule.temperature(0.2) == 1.0
    assert schedule.temperature(0.9) == pytest.approx(0.1)
    with pytest.raises(BlockError, match="shares"):
        SelectionSchedule(full=0.8, select=0.4)


@pytest.mark.parametrize("bases", [[], ["rbf", "rbf"], ["spline"]])
def test_pools_that_make_no_sense_are_refused(bases):
    with pytest.raises(BlockError):
        SelectableKANLinear(5, 4, bases=bases)
