"""Learnable spacings against loops over taps and cells, and against plain convolutions."""

import itertools
import math

import pytest
import torch
from torch import nn

from supple.blocks.dcls import (
    DCLSConv1d,
    DCLSConv2d,
    DCLSConv3d,
    clamp_positions_after,
    dcls_param_groups,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

KINDS = {1: DCLSConv1d, 2: DCLSConv2d, 3: DCLSConv3d}
PLAIN = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def share(version, distance, width):
    """Share of a tap in a cell along one dimension, from the formulas of the paper."""
    if version == "max":
        return max(0.0, abs(width) + 1 - abs(distance))
    if version == "gauss":
        return math.exp(-0.5 * (distance / (abs(width) + 0.27)) ** 2)
    return max(0.0, 1 - abs(distance))


def kernel_by_hand(block):
    """Every tap spread over every cell of the whole window, then scaled to sum one."""
    size, rank = block.dilated_kernel_size, block.rank
    kernel = torch.zeros(*block.weight.shape[:2], *[size] * rank, dtype=block.weight.dtype)
    cells = list(itertools.product(range(size), repeat=rank))
    for o, i, m in itertools.product(*map(range, block.weight.shape)):
        place = [float(block.positions[d, o, i, m]) + size // 2 for d in range(rank)]
        width = [
            0.0 if block.width is None else float(block.width[d, o, i, m]) for d in range(rank)
        ]
        shares = {
            cell: math.prod(share(block.version, cell[d] - place[d], width[d]) for d in range(rank))
            for cell in cells
        }
        total = 1.0 if block.version == "v0" else sum(shares.values()) + 1e-7
        for cell in cells:
            kernel[(o, i, *cell)] += block.weight[o, i, m] * shares[cell] / total
    return kernel


def by_hand(block, x):
    return PLAIN[block.rank](
        x,
        kernel_by_hand(block),
        block.bias,
        stride=block.stride,
        padding=block.padding,
        groups=block.groups,
    )


def case(rank, spatial, channels=(4, 6), **settings):
    given = {"kernel_count": 3, "dilated_kernel_size": 5, "padding": 2} | settings
    into, out = channels
    make = lambda: KINDS[rank](in_channels=into, out_channels=out, **given)  # noqa: E731
    groups = given.get("groups", 1)
    tensors = 1 + rank * (2 if given.get("version") in ("max", "gauss") else 1)
    return BlockCase(
        make=make,
        example=drawn(2, into, *[spatial] * rank),
        channel_dim=1,
        reference=by_hand,
        tolerance=1e-6,  # the small number under the sum is added for each dimension, not once
        wrong_inputs=[drawn(2, into + 1, *[spatial] * rank), drawn(2, into)],
        parameters=tensors * given["kernel_count"] * into // groups * out + out,
        elastic=("in", "out", "inside"),
    )


CASES = {
    "1d v1": case(1, 7),
    "2d depthwise v0": case(2, 6, (4, 4), groups=4, version="v0"),
    "2d gauss": case(2, 5, version="gauss", kernel_count=2),
    "3d max": case(3, 3, (2, 3), version="max", kernel_count=2),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_whole_positions_are_a_dilated_convolution(version):
    block = DCLSConv2d(
        in_channels=2, out_channels=3, kernel_count=9, dilated_kernel_size=5, version=version
    ).double()
    grid = torch.tensor(list(itertools.product((-2.0, 0.0, 2.0), repeat=2))).T
    with torch.no_grad():
        block.positions.copy_(grid[:, None, None, :].expand_as(block.positions))
    x, plain = drawn(2, 2, 9, 9).double(), block.weight.reshape(3, 2, 3, 3)
    want = nn.functional.conv2d(x, plain, block.bias, dilation=2)
    assert torch.allclose(block(x), want, atol=1e-6)


def test_moving_all_taps_by_a_cell_moves_the_kernel():
    block = DCLSConv1d(
        in_channels=1, out_channels=1, kernel_count=2, dilated_kernel_size=9
    ).double()
    with torch.no_grad():
        block.positions.copy_(torch.tensor([-1.3, 0.4]).reshape(1, 1, 1, 2))
        before = block.dense_kernel()
        block.positions.add_(1)
    assert torch.allclose(block.dense_kernel()[..., 1:], before[..., :-1], atol=1e-12)
    assert before.sum().item() == pytest.approx(block.weight.sum().item(), abs=1e-6)


def test_the_plain_convolution_is_the_same():
    block = DCLSConv2d(
        in_channels=4, out_channels=4, groups=2, kernel_count=3, dilated_kernel_size=7, padding=3,
        stride=2,
    )  # fmt: skip
    x = drawn(2, 4, 11, 11)
    assert torch.allclose(block.to_conv()(x), block(x), atol=1e-6)
    assert isinstance(block.to_conv(), nn.Conv2d)


def test_positions_learn_faster_without_decay_and_stay_inside():
    block = DCLSConv1d(in_channels=1, out_channels=1, kernel_count=2, dilated_kernel_size=4)
    slow, fast = dcls_param_groups(block, lr=0.1, weight_decay=0.3)
    assert fast == {"params": [block.positions], "lr": 0.5, "weight_decay": 0.0}
    assert [p is block.positions for p in slow["params"]] == [False, False]
    optimizer = torch.optim.SGD([fast])
    clamp_positions_after(optimizer, block)
    block.positions.grad = torch.tensor([100.0, -100.0]).reshape(1, 1, 1, 2)
    optimizer.step()
    assert block.positions.flatten().tolist() == [-2.0, 1.0]  # the cells -2, -1, 0 and 1


def test_positions_are_shared_and_reset_by_their_owner_only():
    first = DCLSConv1d(in_channels=2, out_channels=2, kernel_count=2, dilated_kernel_size=5)
    before = first.positions.clone()
    second = DCLSConv1d(
        in_channels=2, out_channels=2, kernel_count=2, dilated_kernel_size=5,
        shared_positions=first.positions,
    )  # fmt: skip
    assert second.positions is first.positions
    assert torch.equal(first.positions, before)


def test_errors():
    with pytest.raises(BlockError, match="double positions"):
        DCLSConv1d(in_channels=1, out_channels=1, kernel_count=6, dilated_kernel_size=5)
    with pytest.raises(BlockError, match="not a multiple of 3"):
        DCLSConv1d(in_channels=4, out_channels=3, groups=3, kernel_count=2, dilated_kernel_size=5)
    with pytest.raises(BlockError, match="shared_positions"):
        DCLSConv1d(
            in_channels=2, out_channels=2, kernel_count=2, dilated_kernel_size=5,
            shared_positions=nn.Parameter(torch.zeros(3)),
        )  # fmt: skip
