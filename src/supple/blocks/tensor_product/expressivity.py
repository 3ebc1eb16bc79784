"""What a tensor product can express: its paths, and how many of them can be set freely.

Any product that turns with its inputs is a weighted sum of the couplings of its paths. So a
product with given weights *is* a vector of path weights; the paths it can reach at all are where
that vector can differ from zero, and its expressivity is the number of directions in which its
own weights can move it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from supple.blocks.tensor_product.products import Kind, TensorProduct, _part
from supple.blocks.tensor_product.spherical import coupling
from supple.papers import implements

__all__ = ["all_paths", "expressivity", "interactable_paths", "path_weights"]


def all_paths(degree: int) -> list[tuple[int, int, int]]:
    """The paths of two features of one degree: ``|l1 - l2| <= l3 <= l1 + l2``.

    Example:
        >>> [len(all_paths(degree)) for degree in (1, 2, 3, 4)]
        [6, 19, 44, 85]
    """
    return TensorProduct(degree1=degree, degree2=degree, kind="cg_sparse").paths


def path_weights(product: TensorProduct) -> Tensor:
    """The weight with which each path takes part, (paths), differentiable by the weights.

    Measured on the map itself: all pairs of unit vectors are multiplied, and the result is
    compared with each path's coupling.

    Example:
        >>> path_weights(TensorProduct(degree1=1, degree2=1, kind="cg")).round().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    return _weights_of(product, dict(product.named_parameters()))


def _product(kind: Kind, degree: int, seed: int) -> TensorProduct:
    made = TensorProduct(degree1=degree, degree2=degree, kind=kind, dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw, dtype=weight.dtype))
    return made


@implements(49)
def interactable_paths(kind: Kind, degree: int) -> set[tuple[int, int, int]]:
    """The paths a product of two features of one degree can use at all.

    Example:
        >>> sorted(set(all_paths(1)) - interactable_paths("gaunt", 1))  # the cross product
        [(1, 1, 1)]
    """
    made = _product(kind, degree, 0)
    with torch.no_grad():
        weights = path_weights(made)
    floor = 1e-9 * float(weights.abs().max())
    return {
        path
        for path, weight in zip(made.paths, weights.tolist(), strict=True)
        if abs(weight) > floor
    }


@implements(49)
def expressivity(kind: Kind, degree: int) -> int:
    """The dimension of what a product can express, by choosing its weights.

    The rank, at random weights, of the derivative of the path weights by the weights.

    Example:
        >>> expressivity("cg", 1), expressivity("gaunt", 1)
        (6, 5)
    """
    made = _product(kind, degree, 1)
    names = [name for name, _ in made.named_parameters()]

    def weights_of(*given: Tensor) -> Tensor:
        return _weights_of(made, dict(zip(names, given, strict=True)))

    jacobian = torch.func.jacrev(weights_of, tuple(range(len(names))))(*made.parameters())
    matrix = torch.cat([part.flatten(1) for part in jacobian], 1)
    return int(torch.linalg.matrix_rank(matrix, rtol=1e-8))


def _weights_of(made: TensorProduct, weights: dict[str, Tensor]) -> Tensor:
    """`path_weights` with other weights, which gradients then reach."""
    sizes = [(degree + 1) ** 2 for degree in made.degrees[:2]]
    like = next(iter(weights.values()))
    x, y = (torch.eye(size, device=like.device, dtype=like.dtype) for size in sizes)
    table = torch.func.functional_call(made, weights, (x[:, None, :], y[None, :, :]))
    return torch.stack(
        [
            (table[_part(l1), _part(l2), _part(l3)] * coupling(l1, l2, l3).to(table)).sum()
            for l1, l2, l3 in made.paths
        ]
    )
