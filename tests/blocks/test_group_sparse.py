"""Group-to-group layers: densities, ends, groups and the scale of what comes out."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from supple.blocks.group_sparse import GroupSparseLinear, group_labels, group_sparse_mask
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

X = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
CASES = {
    "index": BlockCase(
        make=lambda: GroupSparseLinear(12, 8, groups=4, p_inter=0.3), example=X,
        reference=lambda layer, x: F.linear(x, layer.weight * layer.mask, layer.bias),
        wrong_inputs=[torch.ones(5, 7)], parameters=12 * 8 + 8,
    ),
    "strided-without-bias": BlockCase(
        make=lambda: GroupSparseLinear(12, 6, groups=5, in_grouping="strided", bias=False),
        example=X, reference=lambda layer, x: x @ (layer.weight * layer.mask).T,
        wrong_inputs=[torch.ones(5, 3)], parameters=72,
    ),
}  # fmt: skip


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("p_inter", [0.0, 0.15, 0.25, 1.0])
@pytest.mark.parametrize("grouping", ["index", "random", "strided"])
def test_the_density_is_that_of_the_formula(p_inter, grouping):
    torch.manual_seed(0)
    layer = GroupSparseLinear(
        256, 256, groups=8, p_inter=p_inter, in_grouping=grouping, out_grouping=grouping
    )
    expected = 1 / 8 + p_inter * (1 - 1 / 8)
    sigma = math.sqrt(p_inter * (1 - p_inter) * 7 / 8 / layer.mask.numel())
    assert abs(float(layer.mask.float().mean()) - expected) <= 3 * sigma + 1e-9


def test_its_ends_are_a_dense_layer_and_blocks_on_the_diagonal():
    dense = GroupSparseLinear(8, 8, groups=4, p_inter=1.0)
    plain = nn.Linear(8, 8)
    plain.load_state_dict({"weight": dense.weight, "bias": dense.bias})
    x = torch.randn(3, 8)
    torch.testing.assert_close(dense(x), plain(x), rtol=0, atol=0)
    apart = GroupSparseLinear(8, 4, groups=2, p_inter=0.0)
    blocks = torch.block_diag(torch.ones(2, 4), torch.ones(2, 4))
    assert torch.equal(apart.mask.float(), blocks)


def test_groups_may_be_unequal():
    sizes = torch.bincount(group_labels(10, 8, "index"))
    assert {*sizes.tolist()} == {1, 2}
    assert torch.bincount(group_labels(10, 8, "random")).sum() == 10


def test_what_comes_out_has_the_scale_of_a_dense_layer():
    torch.manual_seed(0)
    x = torch.randn(200, 512)
    dense = nn.Linear(512, 512)(x).std()
    sparse = GroupSparseLinear(512, 512, p_inter=0.15)(x).std()
    assert float(sparse.detach() / dense.detach()) == pytest.approx(1, abs=0.1)


def test_masked_weights_get_no_gradient():
    layer = GroupSparseLinear(12, 8, groups=4, p_inter=0.1)
    layer(X).square().sum().backward()
    assert (layer.weight.grad[~layer.mask] == 0).all()


def test_masks_follow_a_generator():
    groups = group_labels(16, 4, "index")
    a, b = (
        group_sparse_mask(groups, groups, 0.5, 0.5, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"groups": 9}, "9 groups"),
        ({"p_inter": 1.5}, "p_inter=1.5"),
        ({"p_intra": -0.1}, "p_intra=-0.1"),
        ({"in_grouping": "mixer"}, "in_grouping='mixer'"),
        ({"groups": 0}, "groups=0"),
    ],
)
def test_sizes_that_do_not_fit_are_said(settings, found):
    with pytest.raises(BlockError, match=found):
        GroupSparseLinear(12, 8, **settings)
