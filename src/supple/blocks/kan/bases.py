"""Families of functions of one variable, from which the edges of a KAN are made.

A base maps a tensor of any shape to the same shape with one more dimension: the values of its
``size`` functions. It looks at every element alone, so that it has no sizes to be cut and one
base serves a whole layer. The coefficients belong to the layer (`KANLinear`).

Where the inputs are expected: B-splines, ReLU bumps on [-1, 1]; Gaussians and wavelets on
[-2, 2]; Chebyshev and Jacobi polynomials squash their input with tanh first; Fourier and SiLU
take any number. Outside its interval a B-spline or bump is zero (``outside="zero"``) or keeps the
value at the border (``outside="clamp"``).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from supple.blocks._sizes import check_known, check_positive

__all__ = [
    "BASES",
    "BSpline",
    "Chebyshev",
    "Fourier",
    "Gaussian",
    "Jacobi",
    "ReLUBump",
    "SiLUBase",
    "UnivariateBasis",
    "Wavelet",
    "basis",
]

_HAT = 2 / (math.sqrt(3) * math.sqrt(math.sqrt(math.pi)))  # gives a hat unit energy
_OUTSIDE = {"zero": None, "clamp": None}


class UnivariateBasis(nn.Module):
    """``size`` functions of one variable: ``(…) -> (…, size)``.

    Example:
        >>> import torch
        >>> Chebyshev(degree=2)(torch.zeros(3)).tolist()[0]
        [1.0, 0.0, -1.0]
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """How many functions there are."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The values of all functions at ``x``."""

    def reset_parameters(self) -> None:
        """Returns what the functions themselves have learned to where it began."""

    def mean_square(self) -> float:
        """The mean over a standard normal input of the sum of the squared functions."""
        own = next(iter([*self.parameters(), *self.buffers()]), None)
        if own is not None and own.is_meta:
            return 1.0  # there are no values yet, and none are drawn
        points = torch.linspace(-5, 5, 2001, dtype=torch.float64, device="cpu")
        density = torch.exp(-0.5 * points.square())
        with torch.no_grad():
            values = self(points if own is None else points.to(own)).to(points).square().sum(-1)
        return float((values * density).sum() / density.sum())


class BSpline(UnivariateBasis):
    """B-splines of an order on a uniform grid; they sum to one inside the grid.

    Written as the symmetric truncated powers of the distance to the centre, which takes a few
    point-wise operations instead of a recursion over orders. For the cubic one, with t the
    distance in grid steps: ``(relu(2 - t)^3 - 4 relu(1 - t)^3) / 6``.

    Args:
        grid: Intervals on [low, high].
        order: Degree of the pieces, 1 to 5.
        low: Left end of the grid.
        high: Right end.
        outside: ``"zero"`` or ``"clamp"``.

    Example:
        >>> import torch
        >>> float(BSpline(grid=4, order=3)(torch.tensor(0.3)).sum())
        1.0
    """

    centres: Tensor

    def __init__(
        self, *, grid: int = 5, order: int = 3, low: float = -1.0, high: float = 1.0,
        outside: str = "zero",
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive("BSpline", grid=grid, order=order)
        check_known("BSpline", "outside", outside, _OUTSIDE)
        self.grid, self.order, self.low, self.high, self.outside = grid, order, low, high, outside
        # In grid steps from ``low``; function j has its support on order + 1 intervals.
        centres = torch.arange(grid + order, dtype=torch.float64) - (order - 1) / 2
        self.register_buffer("centres", centres.float(), persistent=False)

    @property
    def size(self) -> int:
        """``grid + order``."""
        return self.grid + self.order

    def forward(self, x: Tensor) -> Tensor:
        """The values of the splines."""
        if self.outside == "clamp":
            x = x.clamp(self.low, self.high)
        steps = (x - self.low) * (self.grid / (self.high - self.low))
        distance = (steps[..., None] - self.centres).abs()
        k, half = self.order, (self.order + 1) / 2
        total = torch.relu(half - distance).pow(k)
        for j in range(1, math.ceil(half)):
            total = total + (-1) ** j * math.comb(k + 1, j) * torch.relu(half - j - distance).pow(k)
        return total / math.factorial(k)


class Gaussian(UnivariateBasis):
    """Gaussian bumps on a uniform grid, as wide as their distance (the RBF base).

    Args:
        count: Number of centres.
        low: First centre.
        high: Last centre.

    Example:
        >>> import torch
        >>> Gaussian(count=3, low=-1, high=1)(torch.tensor(0.0))[1].item()
        1.0
    """

    centres: Tensor

    def __init__(self, *, count: int = 8, low: float = -2.0, high: float = 2.0) -> None:
        super().__init__()
        check_positive("Gaussian", count=count)
        self.count = count
        self.width = (high - low) / max(count - 1, 1)
        centres = (
            torch.linspace(low, high, count) if count > 1 else torch.tensor([(low + high) / 2])
        )
        self.register_buffer("centres", centres, persistent=False)

    @property
    def size(self) -> int:
        """The number of centres."""
        return self.count

    def forward(self, x: Tensor) -> Tensor:
        """The values of the bumps."""
        return torch.exp(-((x[..., None] - self.centres) / self.width).square())


class _Polynomials(UnivariateBasis):
    """Orthogonal polynomials of tanh(x) up to a degree, by their recursion."""

    def __init__(self, *, degree: int = 4) -> None:
        super().__init__()
        check_positive(type(self).__name__, degree=degree)
        self.degree = degree

    @property
    def size(self) -> int:
        """``degree + 1``: the constant is one of them."""
        return self.degree + 1

    @abstractmethod
    def _first(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _next(self, n: int, x: Tensor, last: Tensor, before: Tensor) -> Tensor: ...

    def forward(self, x: Tensor) -> Tensor:
        """The values of the polynomials."""
        x = torch.tanh(x)
        values = [torch.ones_like(x), self._first(x)]
        for n in range(2, self.degree + 1):
            values.append(self._next(n, x, values[-1], values[-2]))
        return torch.stack(values, -1)


class Chebyshev(_Polynomials):
    """Chebyshev polynomials of the first kind, T_0 to T_degree, of tanh(x).

    Args:
        degree: Highest degree.

    Example:
        >>> Chebyshev(degree=4).size
        5
    """

    def _first(self, x: Tensor) -> Tensor:
        return x

    def _next(self, n: int, x: Tensor, last: Tensor, before: Tensor) -> Tensor:
        return 2 * x * last - before


class Jacobi(_Polynomials):
    """Jacobi polynomials P_n^(1,1) of tanh(x), up to a degree.

    Args:
        degree: Highest degree.

    Example:
        >>> Jacobi(degree=3).size
        4
    """

    def _first(self, x: Tensor) -> Tensor:
        return 2 * x

    def _next(self, n: int, x: Tensor, last: Tensor, before: Tensor) -> Tensor:
        # The three-term recursion of P_n^(a,b) at a = b = 1.
        scale = 2 * n * (n + 2) * (2 * n)
        up = (2 * n + 1) * (2 * n + 2) * (2 * n)
        down = 2 * n * n * (2 * n + 2)
        return (up * x * last - down * before) / scale


class Fourier(UnivariateBasis):
    """Sines and cosines of whole frequencies 1 to ``grid``; the constant is the layer's bias.

    Args:
        grid: Highest frequency.

    Example:
        >>> Fourier(grid=5).size
        10
    """

    frequencies: Tensor

    def __init__(self, *, grid: int = 5) -> None:
        super().__init__()
        check_positive("Fourier", grid=grid)
        self.grid = grid
        self.register_buffer("frequencies", torch.arange(1.0, grid + 1), persistent=False)

    @property
    def size(self) -> int:
        """``2 grid``: all cosines, then all sines."""
        return 2 * self.grid

    def forward(self, x: Tensor) -> Tensor:
        """The values of cosines and sines."""
        angles = x[..., None] * self.frequencies
        return torch.cat([torch.cos(angles), torch.sin(angles)], -1)


class Wavelet(UnivariateBasis):
    """Mexican hats ``2/(sqrt(3) pi^(1/4)) (1 - u^2) exp(-u^2/2)``, scale and shift learned.

    The paper gives every edge one hat of its own; here all edges share ``count`` hats, whose
    shifts start on a grid over [-2, 2], so that the layer stays linear in its coefficients.

    Args:
        count: Number of hats.

    Example:
        >>> Wavelet(count=4).size
        4
    """

    def __init__(self, *, count: int = 8) -> None:
        super().__init__()
        check_positive("Wavelet", count=count)
        self.count = count
        self.shift = nn.Parameter(torch.empty(count))
        self.rate = nn.Parameter(torch.empty(count))  # one over the width
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Shifts on their grid, every hat as wide as their distance."""
        with torch.no_grad():
            self.shift.copy_(torch.linspace(-2, 2, self.count))
            self.rate.fill_(self.count / 4)

    @property
    def size(self) -> int:
        """The number of hats."""
        return self.count

    def forward(self, x: Tensor) -> Tensor:
        """The values of the hats."""
        square = ((x[..., None] - self.shift) * self.rate).square()
        return _HAT * (1 - square) * torch.exp(-0.5 * square)


class ReLUBump(UnivariateBasis):
    """Bumps ``(relu(x - left_j) relu(right_j - x))^2`` of height one, ends learned (ReLU-KAN).

    Args:
        grid: Intervals on [low, high].
        order: A bump spans ``order + 1`` intervals.
        low: Left end of the grid.
        high: Right end.

    Example:
        >>> ReLUBump(grid=5, order=3).size
        8
    """

    def __init__(
        self, *, grid: int = 5, order: int = 3, low: float = -1.0, high: float = 1.0
    ) -> None:
        super().__init__()
        check_positive("ReLUBump", grid=grid, order=order)
        self.grid, self.order = grid, order
        self.interval = (low, high)
        self.left = nn.Parameter(torch.empty(self.size))
        self.right = nn.Parameter(torch.empty(self.size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Both ends on the grid."""
        step = self._step
        with torch.no_grad():
            self.left.copy_(self.interval[0] + step * (torch.arange(self.size) - self.order))
            self.right.copy_(self.left + step * (self.order + 1))

    @property
    def _step(self) -> float:
        return (self.interval[1] - self.interval[0]) / self.grid

    @property
    def size(self) -> int:
        """``grid + order``."""
        return self.grid + self.order

    def forward(self, x: Tensor) -> Tensor:
        """The values of the bumps."""
        x = x[..., None]
        height = float(
            (2 / ((self.order + 1) * self._step)) ** 4
        )  # one over the peak at the first ends
        bumps = (torch.relu(x - self.left) * torch.relu(self.right - x)).square()
        return height * bumps


class SiLUBase(UnivariateBasis):
    """One function: ``x sigmoid(x)``.

    Example:
        >>> SiLUBase().size
        1
    """

    @property
    def size(self) -> int:
        """One."""
        return 1

    def forward(self, x: Tensor) -> Tensor:
        """The value of SiLU."""
        return nn.functional.silu(x)[..., None]


BASES: dict[str, Callable[..., UnivariateBasis]] = {
    "bspline": BSpline,
    "chebyshev": Chebyshev,
    "fourier": Fourier,
    "jacobi": Jacobi,
    "rbf": Gaussian,
    "relu_bump": ReLUBump,
    "silu": SiLUBase,
    "wavelet": Wavelet,
}
"""The bases by name."""


def basis(name: str | UnivariateBasis, **settings: Any) -> UnivariateBasis:
    """A base by name, with its settings; a base itself is given back.

    Raises:
        BlockError: There is no base of this name.

    Example:
        >>> basis("rbf", count=4).size
        4
    """
    if isinstance(name, UnivariateBasis):
        return name
    check_known("basis", "basis", name, BASES)
    return BASES[name](**settings)
