"""Residual stacks in a row and side by side."""

import copy

import pytest
import torch
from torch import nn

from supple.blocks.parallel_residual import (
    ParallelResidual,
    ResidualStack,
    fuse_parallel_convs,
    parallelize,
    truncation_error,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))


def branch():
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6))


def in_a_row(stack, x):
    for one in stack.branches:
        x = x + stack.scale * one(x)
    return x


def side_by_side(stack, x):
    return x + sum(stack.scale * one(x) for one in stack.branches)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = branch()

    def forward(self, x):
        return x + self.f(x)


EVERYWHERE = ("in", "inside", "out")
CASES = {
    "sequential": BlockCase(
        make=lambda: ResidualStack([branch() for _ in range(3)], scale=0.5),
        example=X, reference=in_a_row, elastic=(*EVERYWHERE, "depth"),
        parameters=3 * (6 * 5 + 5 + 5 * 6 + 6), macs=3 * 60,
    ),
    "parallel": BlockCase(
        make=lambda: ResidualStack([branch() for _ in range(3)], mode="parallel"),
        example=X, reference=side_by_side, elastic=(*EVERYWHERE, "depth"), macs=3 * 60,
    ),
    "blocks": BlockCase(
        make=lambda: ParallelResidual([Block(), Block()]), example=X,
        elastic=(*EVERYWHERE, "depth"),
        reference=lambda group, x: x + sum(block.f(x) for block in group.blocks),
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_one_branch_is_the_same_in_both_modes():
    row = ResidualStack([branch()])
    side = ResidualStack(row.branches, mode="parallel")
    assert torch.equal(row(X), side(X))
    assert truncation_error(row, X) == 0.0


def test_the_difference_falls_with_the_square_of_the_scale():
    branches = [branch().double() for _ in range(4)]
    x = X.double()
    gaps = [
        (in_a_row(stack, x) - side_by_side(stack, x)).norm().item()
        for stack in (ResidualStack(branches, scale=s) for s in (0.02, 0.01))
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)
    errors = [truncation_error(ResidualStack(branches, scale=s), x) for s in (0.02, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_linear_branches_are_a_product_and_a_sum_of_matrices():
    layers = [nn.Linear(6, 6, bias=False).double() for _ in range(3)]
    x, eye = X.double(), torch.eye(6, dtype=torch.float64)
    product = eye
    for layer in layers:
        product = (eye + layer.weight) @ product
    assert torch.allclose(ResidualStack(layers)(x), x @ product.T, atol=1e-12)
    total = eye + sum(layer.weight for layer in layers)
    side = ResidualStack(layers, mode="parallel")
    assert torch.allclose(side(x), x @ total.T, atol=1e-12)


def test_groups_follow_each_other():
    branches = [branch() for _ in range(5)]
    grouped = ResidualStack(branches, mode="parallel", group=2)
    x = X
    for group in (branches[:2], branches[2:4], branches[4:]):
        x = x + sum(one(x) for one in group)
    assert torch.allclose(grouped(X), x, atol=1e-6)
    singles = ResidualStack(branches, mode="parallel", group=1)
    assert torch.equal(singles(X), ResidualStack(branches)(X))


def test_a_row_of_blocks_is_put_side_by_side():
    row = nn.Sequential(*(Block() for _ in range(4)))
    shallow = parallelize(row)
    assert torch.allclose(shallow(X), X + sum(block.f(X) for block in row), atol=1e-6)
    assert [len(group.blocks) for group in parallelize(row, 3)] == [3, 1]
    assert shallow[0].blocks[2] is row[2]
    shallow[0].reset_parameters()


def conv_branches(count=3, **settings):
    return [
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, **settings), nn.ReLU()) for _ in range(count)
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_parallel_convolutions_are_one_wide_convolution(bias):
    stack = ResidualStack(conv_branches(bias=bias), mode="parallel", scale=0.7)
    fused = fuse_parallel_convs(stack)
    assert torch.allclose(fused(IMAGE), stack(IMAGE), atol=1e-5)
    count = sum(p.numel() for p in fused.parameters())
    assert count == sum(p.numel() for p in stack.parameters())


def test_what_cannot_be_fused_says_why():
    sequential = ResidualStack(conv_branches())
    mixed = ResidualStack([*conv_branches(1), *conv_branches(1, bias=False)], mode="parallel")
    other = ResidualStack([branch()], mode="parallel")
    grouped = ResidualStack(conv_branches(4), mode="parallel", group=2)
    for stack, why in (
        (sequential, "side by side"), (mixed, "differ"), (other, "activation"), (grouped, "side"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=why):
            fuse_parallel_convs(stack)


def test_branches_that_change_the_shape_are_refused():
    for stack in (ResidualStack([nn.Linear(6, 5)]), ParallelResidual([nn.Linear(6, 5)])):
        with pytest.raises(BlockError, match=r"\(4, 6\) into \(4, 5\)"):
            stack(X)
    with pytest.raises(BlockError, match="branches=0"):
        ResidualStack([])


def test_the_measure_of_truncation_leaves_the_stack_alone():
    stack = ResidualStack([branch() for _ in range(2)]).train()
    before = copy.deepcopy(stack.state_dict())
    truncation_error(stack, X)
    assert stack.training
    assert stack.mode == "sequential"
    assert all(torch.equal(v, before[k]) for k, v in stack.state_dict().items())
