"""Trees of binary channels: exact outputs, smallest trees, best roots, against other libraries."""

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from supple.compress.quantize import MSTConv2d, MSTLinear, MSTPlan, MSTRegularizer, hamming_matrix
from supple.errors import CompressError


def binary(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def graph_of(weight, negate=False):
    graph = nx.Graph()
    graph.add_nodes_from(range(len(weight)))
    for i, j in itertools.combinations(range(len(weight)), 2):
        d = int((weight[i] != weight[j]).sum())
        graph.add_edge(i, j, weight=min(d, weight[0].numel() - d) if negate else d)
    return graph


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 5, 16])
def test_the_tree_is_as_short_as_networkxs_and_its_root_is_the_centre(channels, negate):
    weight = binary(channels, 3, 2, 2, seed=channels)
    plan = MSTPlan.of(weight, negate=negate)
    tree = nx.minimum_spanning_tree(graph_of(weight, negate))
    assert plan.total == sum(d["weight"] for _, _, d in tree.edges(data=True))
    ours = nx.Graph([(c, p) for c, p in enumerate(plan.parents) if p >= 0])
    if channels > 1:
        assert nx.is_tree(ours)
        assert nx.eccentricity(ours)[plan.order[0]] == nx.radius(ours) == plan.depth
    assert sorted(plan.order) == list(range(channels))


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_by_the_plan_are_exact(negate, groups):
    weight, x = binary(8, 4 // groups, 3, 3), binary(2, 4, 7, 6, seed=1)
    layer = MSTConv2d(weight, stride=2, padding=1, groups=groups, negate=negate)
    assert torch.equal(layer(x), F.conv2d(x, weight, stride=2, padding=1, groups=groups))


def test_linear_layers_by_the_plan_are_exact():
    weight = binary(20, 33)
    x = torch.randint(-9, 9, (4, 5, 33), generator=torch.Generator().manual_seed(1)).float()
    assert torch.equal(MSTLinear(weight)(x), F.linear(x, weight))


def test_equal_and_opposite_channels_cost_nothing():
    row = binary(1, 30)
    weight = torch.cat([row, row, -row, row])
    assert MSTPlan.of(weight).total == 30
    plan = MSTPlan.of(weight, negate=True)
    assert plan.total == 0
    assert plan.operations == 30
    assert torch.equal(
        MSTLinear(weight, negate=True)(binary(3, 30)), F.linear(binary(3, 30), weight)
    )


def test_counts_by_hand():
    weight = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1]])
    plan = MSTPlan.of(weight)
    assert (plan.total, plan.operations, plan.ratio) == (2, 6, 6 / 12)
    assert plan.parents == (1, -1, 1)
    # Root 4 bits; for two edges: a parent of 2 bits, a count of 3 bits, one place of 2 bits.
    assert plan.stored_bits("index") == 4 + 2 * (2 + 3 + 2)
    assert plan.stored_bits("mask") == 4 + 2 * (2 + 4)


def test_hamming_distances_are_numpys():
    weight = binary(6, 11)
    expected = [[int((a != b).sum()) for b in weight.numpy()] for a in weight.numpy()]
    assert np.array_equal(hamming_matrix(weight).numpy(), expected)


@pytest.mark.parametrize("mode", ["tree", "center"])
def test_the_penalty_is_the_share_of_differences_and_shortens_the_tree(mode):
    weight = torch.randn(12, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sign = torch.where(weight.detach() < 0, -1.0, 1.0)
    before = MSTPlan.of(sign).total
    penalty = MSTRegularizer([weight], strength=2.0, every=5, mode=mode)
    if mode == "tree":
        assert float(penalty().detach()) == pytest.approx(2 * before / (11 * 40))
    optimizer = torch.optim.SGD([weight], lr=10.0)
    for _ in range(200):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    after = MSTPlan.of(torch.where(weight.detach() < 0, -1.0, 1.0)).total
    assert after < before / 2


def test_bad_input():
    with pytest.raises(CompressError, match="other than -1 and 1"):
        MSTPlan.of(torch.zeros(2, 3))
    with pytest.raises(CompressError):
        MSTConv2d(binary(3, 2, 3, 3), groups=2)
    with pytest.raises(CompressError):
        MSTRegularizer([], strength=1.0)
