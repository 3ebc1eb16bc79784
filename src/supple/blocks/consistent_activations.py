"""Activations whose infinitely wide and deep networks classify optimally (arXiv 2204.14126).

A normalised activation with Hermite coefficients ``a_i`` has the dual ``d(x) = sum a_i^2 x^i``:
what one infinitely wide layer does to the cosine of two inputs. What the network becomes when it
is also infinitely deep depends on the dual alone:

- ``d(0) != 0``: the majority vote;
- ``d(0) = 0`` and ``d'(0) = 0``: the nearest neighbour;
- ``d(0) = 0`` and ``0 < d'(0) < 1``: a smoother with the singular kernel ``(1 - x)^(-a/2)``,
  ``a = -2 ln d'(0) / ln d'(1)``, which is consistent for data of dimension a.

`ConsistentActivation` gives the closed forms for dimension 1, 2, 4 and 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from supple.blocks._sizes import check_known
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "ConsistentActivation",
    "HermiteActivation",
    "SineActivation",
    "dual",
    "dual_coefficients",
    "limit_classifier",
    "singularity_exponent",
]

# Coefficients of x, x^2, … of the dual, by the dimension of the data.
DUALS: dict[int, dict[int, float]] = {
    1: {1: 1 / 2, 7: 1 / 2},
    2: {1: 1 / 2, 3: 1 / 2},
    4: {1: 1 / 4, 2: 1 / 2, 3: 1 / 4},
    8: {1: 1 / 16, 2: 7 / 8, 3: 1 / 16},
}
_SINE_RATES = {"generic": 1.0, "2": 2.676, "4": 6.13539, "8": 13.8258}


@implements(2)
class HermiteActivation(nn.Module):
    """``sum_i a_i h_i(z)`` over the normalised Hermite polynomials.

    Args:
        coefficients: a_0, a_1, …; scaled to a sum of squares of one.

    Example:
        >>> import torch
        >>> act = HermiteActivation([0.0, 1.0])
        >>> act(torch.tensor([0.5, -2.0])).tolist()
        [0.5, -2.0]
    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        super().__init__()
        norm = math.sqrt(sum(c * c for c in coefficients))
        if not norm > 0:
            raise BlockError(
                f"HermiteActivation got coefficients {list(coefficients)!r}.",
                why="At least one must not be zero.",
                hint="[0, 1, 0, 1].",
            )
        self.coefficients = tuple(c / norm for c in coefficients)

    def forward(self, z: Tensor) -> Tensor:
        """Any shape, kept."""
        before, last = torch.zeros_like(z), torch.ones_like(z)
        total = self.coefficients[0] * last
        for n, coefficient in enumerate(self.coefficients[1:], start=1):
            # The recursion of the normalised polynomials: sqrt(n) h_n = z h_n-1 - sqrt(n-1) h_n-2.
            before, last = last, (z * last - math.sqrt(n - 1) * before) / math.sqrt(n)
            if coefficient:
                total = total + coefficient * last
        return total

    def dual(self, x: Tensor) -> Tensor:
        """What one infinitely wide layer does to a cosine."""
        return dual([c * c for c in self.coefficients], x)


@implements(2)
class ConsistentActivation(HermiteActivation):
    """The closed form that is Bayes-consistent for data of a dimension (arXiv 2204.14126).

    For dimension 2 it is ``(h_1 + h_3) / sqrt 2``, with the dual ``(x + x^3) / 2``.

    Args:
        dimension: Dimension of the data on the sphere: 1, 2, 4 or 8.

    Example:
        >>> import torch
        >>> act = ConsistentActivation(dimension=2)
        >>> act.dual(torch.tensor(1.0)).item()
        1.0
    """

    def __init__(self, *, dimension: int) -> None:
        if dimension not in DUALS:
            raise BlockError(
                f"ConsistentActivation got dimension={dimension!r}.",
                why=f"Closed forms are known for {', '.join(map(str, DUALS))}.",
                hint="SineActivation, or HermiteActivation with coefficients of your own.",
            )
        squares = DUALS[dimension]
        super().__init__([math.sqrt(squares.get(i, 0.0)) for i in range(max(squares) + 1)])
        self.dimension = dimension

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"dimension={self.dimension}"


@implements(2)
class SineActivation(nn.Module):
    """``exp(c/2) sin(sqrt(c) z) / sqrt(sinh c)``, with the dual ``sinh(c x) / sinh(c)``.

    Args:
        rate: The c, above zero; or ``"2"``, ``"4"``, ``"8"`` for the dimension of the data, or
            ``"generic"``.

    Example:
        >>> import torch
        >>> round(SineActivation(rate="2").dual(torch.tensor(1.0)).item(), 6)
        1.0
    """

    def __init__(self, *, rate: float | str = "generic") -> None:
        super().__init__()
        if isinstance(rate, str):
            check_known("SineActivation", "rate", rate, _SINE_RATES)
            rate = _SINE_RATES[rate]
        if not 0 < rate < 100:
            raise BlockError(
                f"SineActivation got rate={rate!r}.",
                why="It is a number above zero; above 100 its sinh overflows.",
                hint="rate=1.0.",
            )
        self.rate = rate

    def forward(self, z: Tensor) -> Tensor:
        """Any shape, kept."""
        scale = math.exp(self.rate / 2) / math.sqrt(math.sinh(self.rate))
        return scale * torch.sin(math.sqrt(self.rate) * z)

    def dual(self, x: Tensor) -> Tensor:
        """What one infinitely wide layer does to a cosine."""
        return torch.sinh(self.rate * x) / math.sinh(self.rate)

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"rate={self.rate}"


@implements(2)
def dual_coefficients(
    activation: Callable[[Tensor], Tensor], degree: int = 30, *, points: int = 200
) -> list[float]:
    """Squared Hermite coefficients of an activation, scaled to a sum of one (the dual's).

    Args:
        activation: Any function; it is normalised to a mean square of one at normal inputs.
        degree: Highest degree.
        points: Places of the Gauss-Hermite quadrature; more for kinks.

    Example:
        >>> [round(c, 6) for c in dual_coefficients(ConsistentActivation(dimension=2), 4)]
        [0.0, 0.5, 0.0, 0.5, 0.0]
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    with torch.no_grad():
        values = activation(torch.from_numpy(nodes)).numpy()
    values = values / math.sqrt(float((weights * values**2).sum()))
    before, last = np.zeros_like(nodes), np.ones_like(nodes)
    found = [float((weights * values).sum()) ** 2]
    for n in range(1, degree + 1):
        before, last = last, (nodes * last - math.sqrt(n - 1) * before) / math.sqrt(n)
        found.append(float((weights * values * last).sum()) ** 2)
    return found


def dual(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """``sum_i c_i x^i`` with coefficients of the dual, lowest first.

    Example:
        >>> import torch
        >>> dual([0.0, 0.5, 0.0, 0.5], torch.tensor(0.5)).item()
        0.3125
    """
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


@implements(2)
def limit_classifier(
    coefficients: Sequence[float], *, tolerance: float = 1e-9
) -> Literal["majority", "one_nn", "singular"]:
    """What an infinitely wide and deep network of this dual becomes.

    Args:
        coefficients: Coefficients of the dual, lowest first, of sum one.
        tolerance: Below this a coefficient counts as zero.

    Example:
        >>> limit_classifier(dual_coefficients(torch.relu))
        'majority'
        >>> limit_classifier([0.0, 0.0, 1.0]), limit_classifier([0.0, 0.5, 0.0, 0.5])
        ('one_nn', 'singular')
    """
    if coefficients[0] > tolerance:
        return "majority"
    return "singular" if coefficients[1] > tolerance else "one_nn"


@implements(2)
def singularity_exponent(coefficients: Sequence[float]) -> float:
    """The a of the singular kernel ``(1 - x)^(-a/2)``: the dimension it is consistent for.

    Raises:
        BlockError: The limit is no singular kernel.

    Example:
        >>> round(singularity_exponent([0.0, 0.5, 0.0, 0.5]), 6)
        2.0
    """
    if limit_classifier(coefficients) != "singular" or coefficients[1] >= 1:
        raise BlockError(
            f"The limit of the dual {list(coefficients)!r} is no singular kernel.",
            why="That needs d(0) = 0 and 0 < d'(0) < 1.",
            hint="ConsistentActivation(dimension=2).",
        )
    at_one = sum(i * c for i, c in enumerate(coefficients))
    return -2 * math.log(coefficients[1]) / math.log(at_one)
