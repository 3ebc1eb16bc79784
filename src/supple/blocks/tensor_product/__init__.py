"""Equivariant tensor products, and what each of them can express.

A feature of degree L holds one vector of length ``2 l + 1`` for each l = 0 … L, in this order, in
the last dimension: ``(L + 1)**2`` numbers that turn with the object they describe. A tensor
product multiplies two such features into a third that turns with them. The general one
(Clebsch-Gordan) has a weight for each path (l1, l2, l3); the fast ones (Gaunt, matrix) have
fewer and cannot express every product.

Paper 49: Xie, Daigavane, Kotak, Smidt, "The Price of Freedom: Exploring Expressivity and Runtime
Tradeoffs in Equivariant Tensor Products" (arXiv 2506.13523).
"""

from supple.blocks.tensor_product.expressivity import (
    all_paths,
    expressivity,
    interactable_paths,
    path_weights,
)
from supple.blocks.tensor_product.products import TensorProduct
from supple.blocks.tensor_product.spherical import (
    coupling,
    sphere_grid,
    spherical_harmonics,
)

__all__ = [
    "TensorProduct",
    "all_paths",
    "coupling",
    "expressivity",
    "interactable_paths",
    "path_weights",
    "sphere_grid",
    "spherical_harmonics",
]
