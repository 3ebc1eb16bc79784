"""GroupSort, MaxMin and Householder against sorting and reflecting by hand."""

import math

import pytest
import torch

from supple.blocks.groupsort import GroupSort, Householder, MaxMin
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def sorted_by_hand(x, size, dim=1):
    channels = x.movedim(dim, -1)
    rows = [
        [value for i in range(0, len(row), size) for value in sorted(row[i : i + size])]
        for row in channels.reshape(-1, channels.shape[-1]).tolist()
    ]
    return torch.tensor(rows, dtype=x.dtype).reshape(channels.shape).movedim(-1, dim)


def reflected_by_hand(block, x):
    y = x.clone()
    for pair, t in enumerate(block.angle.tolist()):
        v = torch.tensor([math.cos(t), math.sin(t)], dtype=x.dtype)
        for b in range(x.shape[0]):
            two = x[b, 2 * pair : 2 * pair + 2]
            if v @ two > 0:
                y[b, 2 * pair : 2 * pair + 2] = two - 2 * v * (v @ two)
    return y


def turned():
    block = Householder(num_features=6)
    with torch.no_grad():
        block.angle.copy_(torch.tensor([0.3, -1.0, 2.5]))
    return block


CASES = {
    "groupsort": BlockCase(
        make=lambda: GroupSort(group_size=3),
        example=drawn(4, 6),
        reference=lambda block, x: sorted_by_hand(x, 3),
        wrong_inputs=[drawn(2, 7), drawn(6)],
        parameters=0,
        macs=0,
    ),
    "maxmin": BlockCase(
        make=lambda: MaxMin(),
        example=drawn(4, 6, 3, 3),
        channel_dim=1,
        reference=lambda block, x: sorted_by_hand(x, 2),
        wrong_inputs=[drawn(2, 7, 3, 3), drawn(6)],
        parameters=0,
        macs=0,
    ),
    "householder": BlockCase(
        make=turned,
        example=drawn(4, 6),
        reference=reflected_by_hand,
        wrong_inputs=[drawn(2, 8), drawn(6)],
        parameters=3,
    ),
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


def test_maxmin_is_groupsort_of_two_and_the_first_householder():
    x = drawn(5, 8).double()
    want = GroupSort(group_size=2)(x)
    assert torch.equal(MaxMin()(x), want)
    assert torch.allclose(Householder(num_features=8).double()(x), want, atol=1e-14)


@pytest.mark.parametrize("make", [lambda: GroupSort(group_size=4), MaxMin, turned])
def test_gradients_keep_their_length(make):
    """Each block permutes or reflects, so its derivative is an orthogonal matrix."""
    block, x = make(), drawn(12 if make is not turned else 6)
    jacobian = torch.autograd.functional.jacobian(lambda v: block(v[None])[0], x)
    assert torch.allclose(jacobian @ jacobian.T, torch.eye(len(x)), atol=1e-6)


def test_odd_widths_are_refused_when_built():
    with pytest.raises(BlockError, match="not a multiple of 2"):
        Householder(num_features=5)
    with pytest.raises(BlockError, match="group_size"):
        GroupSort(group_size=1)
