"""Tensor products against turning by hand, SymPy's integrals and counted paths."""

import math

import pytest
import torch
from sympy.physics.wigner import wigner_3j

from supple.blocks.tensor_product import (
    TensorProduct,
    all_paths,
    coupling,
    expressivity,
    interactable_paths,
    path_weights,
    sphere_grid,
    spherical_harmonics,
)
from supple.errors import BlockError
from supple.testing import BlockCase, parametrize_blocks

KINDS = ("cg", "cg_sparse", "gaunt", "matrix", "vector_gaunt")


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed):
    """A proper rotation from three angles."""
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def turning(matrix, degree):
    """The matrix with which a feature turns: from harmonics at turned points."""
    points = sphere_grid(2 * degree)[0]
    before, after = (spherical_harmonics(p, degree) for p in (points, points @ matrix.T))
    return torch.linalg.lstsq(before, after).solution.T


def by_hand(block, x, y):
    """Sum over all paths of its weight in the map times its coupling."""
    weights = path_weights(block)
    out = torch.zeros(*x.shape[:-1], block.out_features, dtype=x.dtype)
    for (l1, l2, l3), weight in zip(block.paths, weights, strict=True):
        a, b = x[..., l1**2 : (l1 + 1) ** 2], y[..., l2**2 : (l2 + 1) ** 2]
        here = torch.einsum("...a,...b,abc->...c", a, b, coupling(l1, l2, l3).to(x))
        out[..., l3**2 : (l3 + 1) ** 2] += weight * here
    return out


# Numbers of a feature may be cut one by one, though only whole degrees turn together.
ELASTIC = {
    "cg": ("in", "inside", "out"),
    "cg_sparse": (),
    "gaunt": ("in", "out"),
    "matrix": ("in", "out"),
    "vector_gaunt": ("in", "out"),
}
CASES = {
    kind: BlockCase(
        make=lambda kind=kind: TensorProduct(degree1=1, degree2=1, kind=kind),
        example=(drawn(3, 4).float(), drawn(3, 4, seed=1).float()),
        reference=by_hand,
        wrong_inputs=[(drawn(3, 5).float(), drawn(3, 4).float())],
        parameters=6
        if kind.startswith("cg")
        else (3 if kind == "vector_gaunt" else 1) * (2 + 2 + 3),
        tolerance=1e-6,  # the constants are rounded to float32 with the block
        elastic=ELASTIC[kind],
    )
    for kind in KINDS
}


@parametrize_blocks(CASES)
def test_contract(check):
    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("degrees", [(1, 1, None), (2, 1, 2), (2, 3, 4)])
def test_products_turn_with_their_inputs(kind, degrees):
    block = TensorProduct(
        degree1=degrees[0], degree2=degrees[1], degree_out=degrees[2], kind=kind,
        dtype=torch.float64,
    )  # fmt: skip
    for i, weight in enumerate(block.parameters()):
        weight.data.copy_(drawn(*weight.shape, seed=i))
    matrix = rotation(3)
    d1, d2, d3 = (turning(matrix, degree) for degree in block.degrees)
    x, y = drawn(5, len(d1)), drawn(5, len(d2), seed=1)
    assert torch.allclose(block(x @ d1.T, y @ d2.T), block(x, y) @ d3.T, atol=1e-9)


@pytest.mark.parametrize("kind", ["cg", "gaunt"])
def test_a_mirror_gives_each_degree_its_sign(kind):
    """True for Gaunt; the odd paths of Clebsch-Gordan keep the other sign (pseudo-vectors)."""
    block = TensorProduct(degree1=2, degree2=2, kind=kind, dtype=torch.float64)
    signs = torch.cat([torch.full((2 * l + 1,), (-1.0) ** l) for l in range(5)]).double()  # noqa: E741
    x, y = drawn(3, 9), drawn(3, 9, seed=1)
    same = torch.allclose(block(x * signs[:9], y * signs[:9]), block(x, y) * signs)
    assert same == (kind == "gaunt")


def test_couplings_have_the_size_of_wigners_symbols():
    for l1, l2, l3 in ((1, 1, 2), (2, 1, 1), (2, 2, 3), (3, 2, 4)):
        table = coupling(l1, l2, l3)
        assert table.norm().item() == pytest.approx(1)
        middle = abs(float(wigner_3j(l1, l2, l3, 0, 0, 0)))
        assert abs(table[l1, l2, l3].item()) == pytest.approx(middle, abs=1e-12)


def test_vectors_multiply_as_they_should():
    """Degree 1 is (y, z, x): the couplings are the scalar and the cross product."""
    x, y = drawn(5, 3), drawn(5, 3, seed=1)
    to = [1, 2, 0]
    product = torch.einsum("na,nb,abc->nc", x[:, to], y[:, to], coupling(1, 1, 0))
    assert torch.allclose(product[:, 0].abs(), (x * y).sum(1).abs() / math.sqrt(3))
    crossed = torch.einsum("na,nb,abc->nc", x[:, to], y[:, to], coupling(1, 1, 1))
    want = torch.linalg.cross(x, y)[:, to] / math.sqrt(6)
    sign = torch.sign(crossed[0, 0] * want[0, 0])  # which of the two is a convention
    assert torch.allclose(crossed, sign * want, atol=1e-12)


def test_harmonics_are_orthonormal_and_the_grid_is_exact():
    points, weights = sphere_grid(8)
    table = spherical_harmonics(points, 4)
    assert torch.allclose(table.T @ (weights[:, None] * table), torch.eye(25).double(), atol=1e-12)
    third = spherical_harmonics(torch.tensor([[0.0, 0.0, 1.0]]).double(), 3)[0, 12]
    assert third.item() == pytest.approx(math.sqrt(7 / (4 * math.pi)))  # Y_30 at the pole


def test_dense_and_sparse_are_the_same():
    blocks = [TensorProduct(degree1=2, degree2=3, kind=k, dtype=torch.float64) for k in KINDS[:2]]
    for block in blocks:
        block.weight.data.copy_(drawn(*block.weight.shape))
    x, y = drawn(4, 7, 9), drawn(4, 7, 16, seed=1)
    assert torch.allclose(blocks[0](x, y), blocks[1](x, y), atol=1e-12)


def test_paths_are_those_of_the_paper():
    assert [len(all_paths(degree)) for degree in (1, 2, 3, 4)] == [6, 19, 44, 85]
    assert [len(interactable_paths("gaunt", degree)) for degree in (1, 2, 3)] == [5, 14, 30]
    even = {path for path in all_paths(3) if sum(path) % 2 == 0}
    assert interactable_paths("gaunt", 3) == even
    assert interactable_paths("cg", 2) == set(all_paths(2))
    assert (1, 1, 1) in interactable_paths("vector_gaunt", 1)
    assert (1, 1, 1) in interactable_paths("matrix", 1)


def test_expressivity_is_the_number_of_free_weights():
    """Clebsch-Gordan: one for each path. Gaunt: the degrees of three features, less two scales."""
    for degree in (1, 2, 3):
        assert expressivity("cg", degree) == len(all_paths(degree))
        assert expressivity("gaunt", degree) == 2 * (degree + 1) + (2 * degree + 1) - 2


def test_errors():
    with pytest.raises(BlockError, match="from 0"):
        TensorProduct(degree1=-1, degree2=0)
    with pytest.raises(BlockError, match="kind"):
        TensorProduct(degree1=1, degree2=1, kind="dense")
