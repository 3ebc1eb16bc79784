"""Coupling coefficients, spherical harmonics and a grid on the sphere, all real.

The harmonics are built from the coefficients, so that the two cannot disagree about signs. The
vector of degree 1 is ``sqrt(3 / (4 pi)) (y, z, x)``.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["coupling", "sphere_grid", "spherical_harmonics"]


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> float:
    """The complex coefficient, by Racah's formula."""
    if m1 + m2 != m3:
        return 0.0
    f = math.factorial
    front = (
        (2 * l3 + 1)
        * f(l3 + l1 - l2)
        * f(l3 - l1 + l2)
        * f(l1 + l2 - l3)
        * f(l3 + m3)
        * f(l3 - m3)
        * f(l1 - m1)
        * f(l1 + m1)
        * f(l2 - m2)
        * f(l2 + m2)
    ) / f(l1 + l2 + l3 + 1)
    total = 0.0
    for k in range(l1 + l2 - l3 + 1):
        terms = (l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        if min(terms) >= 0:
            total += (-1) ** k / (f(k) * math.prod(map(f, terms)))
    return math.sqrt(front) * total


def _to_real(degree: int) -> np.ndarray:
    """Rows: real harmonics m = -l … l; columns: complex ones."""
    change = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    change[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        change[degree + m, [degree - m, degree + m]] = np.array([1, sign]) / math.sqrt(2)
        change[degree - m, [degree - m, degree + m]] = np.array([1j, -1j * sign]) / math.sqrt(2)
    return change


@cache
def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """How vectors of degree l1 and l2 make one of degree l3: (2 l1 + 1, 2 l2 + 1, 2 l3 + 1).

    The only such tensor that turns with its arguments, up to a factor; of unit norm, float64.

    Example:
        >>> round(coupling(1, 1, 0).abs().sum().item(), 4)  # the scalar product / sqrt(3)
        1.7321
    """
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                value = _clebsch_gordan(l1, m1, l2, m2, l3, m1 + m2)
                table[l1 + m1, l2 + m2, l3 + m1 + m2] = value
    a, b, c = (_to_real(degree) for degree in (l1, l2, l3))
    real = np.einsum("ai,bj,ck,ijk->abc", a, b, c.conj(), table)
    # Real where l1 + l2 + l3 is even, purely imaginary where it is odd.
    part = real.real if (l1 + l2 + l3) % 2 == 0 else real.imag
    return torch.from_numpy(np.ascontiguousarray(part / np.linalg.norm(part)))


def spherical_harmonics(points: Tensor, degree: int) -> Tensor:
    """Real harmonics of degrees 0 to ``degree`` at unit vectors (…, 3): (…, (degree + 1)**2).

    Orthonormal on the sphere: their products integrate to one and zero.

    Example:
        >>> spherical_harmonics(torch.tensor([[0.0, 0.0, 1.0]]), 1).shape
        torch.Size([1, 4])
    """
    first = math.sqrt(3 / (4 * math.pi)) * points[..., [1, 2, 0]]
    parts = [torch.full_like(points[..., :1], math.sqrt(1 / (4 * math.pi)))]
    for l in range(1, degree + 1):  # noqa: E741 (the degree, as everywhere in this field)
        if l == 1:
            parts.append(first)
            continue
        c = coupling(l - 1, 1, l).to(points)
        raw = torch.einsum("...a,...b,abc->...c", parts[-1], first, c)
        # The squares of one degree add up to a constant.
        size = math.sqrt((2 * l + 1) / (4 * math.pi))
        parts.append(raw * (size / raw.norm(dim=-1, keepdim=True)))
    return torch.cat(parts, -1)


def sphere_grid(degree: int) -> tuple[Tensor, Tensor]:
    """Points (N, 3) and weights (N) that integrate harmonics up to ``degree`` exactly, float64.

    Gauss-Legendre in the height, uniform in the angle.

    Example:
        >>> points, weights = sphere_grid(4)
        >>> round(weights.sum().item() / math.pi, 6)
        4.0
    """
    heights, height_weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    count = degree + 1
    angles = 2 * math.pi * np.arange(count) / count
    radius = np.sqrt(1 - heights**2)[:, None]
    points = np.stack(
        [
            radius * np.cos(angles),
            radius * np.sin(angles),
            np.broadcast_to(heights[:, None], (len(heights), count)),
        ],
        -1,
    )
    weights = np.broadcast_to(height_weights[:, None] * 2 * math.pi / count, points.shape[:2])
    return torch.from_numpy(points.reshape(-1, 3)), torch.from_numpy(weights.reshape(-1).copy())
