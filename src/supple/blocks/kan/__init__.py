"""Kolmogorov-Arnold layers: a learned function of one variable on every edge.

``bases`` holds the functions (B-spline, Gaussian, Chebyshev, Jacobi, Fourier, wavelet, ReLU bump,
SiLU), ``kan_linear`` the layer that takes any of them, ``af_kan`` the layer of activation products
(arXiv 2503.06112), ``s_kan`` the layers that choose their base (arXiv 2408.08338).
"""

from supple.blocks.kan.af_kan import AFKAN, AFKANLinear
from supple.blocks.kan.bases import BASES, UnivariateBasis, basis
from supple.blocks.kan.kan_linear import KAN, KANConv2d, KANLinear
from supple.blocks.kan.s_kan import SelectableKANConv2d, SelectableKANLinear, SelectionSchedule

__all__ = [
    "AFKAN",
    "BASES",
    "KAN",
    "AFKANLinear",
    "KANConv2d",
    "KANLinear",
    "SelectableKANConv2d",
    "SelectableKANLinear",
    "SelectionSchedule",
    "UnivariateBasis",
    "basis",
]
