"""Hourglass MLP: its formula, its frozen lift, and the conventional twin."""

import math

import pytest
import torch

from supple.blocks.hourglass_mlp import HourglassBlock, HourglassMLP, ResidualMLP
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def normed(z):
    mean = z.mean(-1, keepdim=True)
    variance = (z - mean).square().mean(-1, keepdim=True)
    return (z - mean) / (variance + 1e-5).sqrt()


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def formula(net, x, norm=normed):
    z = x @ net.lift.T if isinstance(net, HourglassMLP) else x
    for block in net.blocks:
        z = z + gelu(norm(z) @ block.narrow.weight.T) @ block.widen.weight.T
    return norm(z) @ net.head.weight.T


def hourglass(**settings):
    return lambda: HourglassMLP(
        6, 5, latent_features=12, bottleneck_features=4, depth=3, **settings
    )


X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
EVERYWHERE = ("in", "inside", "out", "depth")
NORM = {"removed_equals_zeroed": "layer norm is over the coordinates that are there"}
CASES = {
    "frozen": BlockCase(
        make=hourglass(), example=X, reference=formula, wrong_inputs=[torch.ones(5, 7)],
        parameters=2 * 3 * 12 * 4 + 12 * 5, macs=6 * 12 + 2 * 3 * 12 * 4 + 12 * 5,
        elastic=EVERYWHERE, cannot=NORM,
    ),
    "trained-without-norm": BlockCase(
        make=hourglass(freeze_input=False, norm="none"), example=X,
        reference=lambda net, x: formula(net, x, lambda z: z), wrong_inputs=[torch.ones(5)],
        parameters=6 * 12 + 2 * 3 * 12 * 4 + 12 * 5, elastic=EVERYWHERE,
    ),
    "twin": BlockCase(
        make=lambda: ResidualMLP(6, 5, hidden_features=9, depth=2), example=X,
        reference=formula, wrong_inputs=[torch.ones(5, 7)],
        parameters=2 * 2 * 6 * 9 + 6 * 5, macs=2 * 2 * 6 * 9 + 6 * 5,
        elastic=EVERYWHERE, cannot=NORM,
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_with_an_identity_lift_it_is_the_conventional_network():
    wide = HourglassMLP(6, 5, latent_features=6, bottleneck_features=4, depth=2)
    plain = ResidualMLP(6, 5, hidden_features=4, depth=2)
    plain.load_state_dict({k: v for k, v in wide.state_dict().items() if k != "lift"})
    wide.lift.copy_(torch.eye(6))
    assert torch.equal(wide(X), plain(X))


def test_the_frozen_lift_is_a_buffer_that_its_seed_gives_again():
    first, second = hourglass(seed=4)(), hourglass(seed=4)()
    assert "lift" in dict(first.named_buffers())
    assert torch.equal(first.lift, second.lift)
    assert not torch.equal(first.lift, hourglass(seed=5)().lift)
    first(X).sum().backward()
    assert first.lift.grad is None
    second.lift.zero_()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.lift, second.lift)
    second.lift.zero_()
    second.reset_parameters()
    assert torch.equal(first.lift, second.lift)


def test_a_wide_lift_keeps_distances():
    points = torch.randn(60, 64, generator=torch.Generator().manual_seed(1))
    net = HourglassMLP(64, 1, latent_features=2048, bottleneck_features=1, depth=1)
    scale = math.sqrt(2048 / 64)  # per coordinate the scale is kept
    ratio = torch.pdist(points @ net.lift.T) / (torch.pdist(points) * scale)
    assert ((ratio - 1).abs() < 0.1).float().mean() >= 0.99


def test_branches_start_small_with_depth():
    torch.manual_seed(0)
    shallow = HourglassMLP(8, 2, latent_features=64, bottleneck_features=16, depth=2)
    deep = HourglassMLP(8, 2, latent_features=64, bottleneck_features=16, depth=32)
    ratio = shallow.blocks[0].widen.weight.std() / deep.blocks[0].widen.weight.std()
    assert ratio.item() == pytest.approx(math.sqrt(64 / 4), rel=0.1)


def test_what_is_not_an_hourglass_is_said():
    with pytest.warns(UserWarning, match="the conventional shape, not an hourglass"):
        HourglassMLP(6, 5, latent_features=8, bottleneck_features=8)


@pytest.mark.parametrize(
    "settings", [{"depth": 0}, {"latent_features": 0}, {"bottleneck_features": -1}]
)
def test_sizes_below_one_are_refused(settings):
    with pytest.raises(BlockError, match=r"=0|=-1"):
        HourglassMLP(6, 5, **settings)


def test_an_unknown_norm_names_those_that_exist():
    with pytest.raises(BlockError, match="'layer'"):
        HourglassBlock(6, 5, norm="layers")
