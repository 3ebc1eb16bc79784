"""Grokking: the pairs counted by hand, the network by einsum."""

import math

import pytest
import torch

from supple.compress.mask import prunable
from supple.compress.tickets import GrokkingMLP, grokking_step, modular_pairs
from supple.errors import CompressError


@pytest.mark.parametrize("p", [5, 31])
def test_symmetric_pairs_are_there_once_each(p):
    data = modular_pairs(p, seed=1)
    pairs = torch.cat([data.train_x, data.test_x])
    results = torch.cat([data.train_y, data.test_y])
    assert len(pairs) == p * (p + 1) // 2
    assert len(torch.unique(pairs, dim=0)) == len(pairs)
    assert (pairs[:, 0] <= pairs[:, 1]).all()
    assert torch.equal(results, pairs.sum(1) % p)
    assert len(data.train_x) == round(0.4 * len(pairs))


@pytest.mark.parametrize(
    ("operation", "formula"),
    [
        ("subtract", lambda a, b: (a - b) % 7),
        ("quadratic", lambda a, b: (a * a + a * b + b * b) % 7),
    ],
)
def test_other_operations(operation, formula):
    data = modular_pairs(7, operation=operation)
    expected = [formula(int(a), int(b)) for a, b in data.train_x]
    assert data.train_y.tolist() == expected
    assert len(data.train_x) + len(data.test_x) == (49 if operation == "subtract" else 28)


def test_the_network_is_its_formula_and_all_of_it_can_be_masked():
    net = GrokkingMLP(modulus=7, width=6, hidden=4)
    pairs = torch.tensor([[1, 5], [0, 0]])
    w = {n: t.detach() for n, t in prunable(net).items()}
    assert {*w} == {"embed", "into.weight", "out.weight", "unembed.weight"}
    both = torch.nn.functional.one_hot(pairs, 7).float().sum(1)
    hidden = torch.einsum("bp,pw,hw->bh", both, w["embed"], w["into.weight"]).relu()
    expected = torch.einsum("bh,wh,pw->bp", hidden, w["out.weight"], w["unembed.weight"])
    torch.testing.assert_close(net(pairs), expected)


def test_the_first_step_over_the_threshold():
    assert grokking_step([(0, 0.2), (5, 0.96), (9, 0.5)]) == 5
    assert grokking_step([(0, 0.2)]) == math.inf
    with pytest.raises(CompressError, match="modulo 1"):
        modular_pairs(1)
    with pytest.raises(CompressError, match="no operation"):
        modular_pairs(5, operation="times")
