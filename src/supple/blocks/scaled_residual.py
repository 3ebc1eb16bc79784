"""Residual towers with scaled branches, and their expansion in the scale (arXiv 2510.03470).

    h_i = h_(i-1) + s f_i(h_(i-1)),  i = 1..n
    h_n = x + s sum_i f_i(x) + s^2 sum_(i<j) f_j'(x) f_i(x) + O(s^3)

The term of order k has binomial(n, k) parts: with s = 1 the output grows like (1 + c)^n, with
s = 1/n or 1/sqrt(n) it stays. At 1/sqrt(n) the O(s^3) is not small. At the kinks of ReLU there is
no expansion; elsewhere the terms hold.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from supple.blocks._reset import reset
from supple.blocks._sizes import check_known, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "ScaledResidual",
    "ScaledResidualTower",
    "geometric_complexity",
    "order_contributions",
    "residual_expansion",
]

Scale = float | str
RULES: dict[str, Callable[[int], float]] = {
    "1/n": lambda depth: 1 / depth,
    "1/sqrt_n": lambda depth: 1 / math.sqrt(depth),
    "learnable": lambda depth: 0.0,
}
"""First values of the scale by rule; a learned one starts at zero, as in SkipInit and ReZero."""


def _value(scale: Scale, depth: int, owner: str) -> float:
    if isinstance(scale, str):
        check_known(owner, "scale", scale, RULES)
        return RULES[scale](depth)
    if not math.isfinite(scale):
        raise BlockError(
            f"{owner} got scale={scale!r}.", why="It is a finite number.", hint="scale='1/sqrt_n'."
        )
    return float(scale)


@implements(114)
class ScaledResidual(nn.Module):
    """``x + s branch(x)`` (arXiv 2510.03470).

    Args:
        branch: A module that keeps the shape of its input.
        scale: ``"1/n"``, ``"1/sqrt_n"``, ``"learnable"`` (a parameter that starts at zero) or a
            number.
        depth: The n: number of blocks in the tower.

    Example:
        >>> import torch
        >>> block = ScaledResidual(nn.Identity(), scale="1/n", depth=4)
        >>> block(torch.ones(2)).tolist()
        [1.25, 1.25]
    """

    def __init__(self, branch: nn.Module, *, scale: Scale = "1/sqrt_n", depth: int = 1) -> None:
        super().__init__()
        check_positive("ScaledResidual", depth=depth)
        value = _value(scale, depth, "ScaledResidual")
        self.branch, self.rule, self.depth = branch, scale, depth
        self.scale: float | nn.Parameter = (
            nn.Parameter(torch.tensor(value)) if scale == "learnable" else value
        )

    def reset_parameters(self) -> None:
        """Draws the branch anew; a learned scale returns to zero."""
        reset(self.branch)
        if isinstance(self.scale, nn.Parameter):
            nn.init.zeros_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape the branch takes, kept."""
        update: Tensor = self.branch(x)
        if update.shape != x.shape:
            raise BlockError(
                f"The branch turns {tuple(x.shape)} into {tuple(update.shape)}.",
                why="It is added to its input.",
                hint="a branch that keeps the shape.",
                shape=tuple(x.shape),
            )
        return x + self.scale * update

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"scale={self.rule}, depth={self.depth}"


@implements(114)
class ScaledResidualTower(nn.Module):
    """Branches in a row whose scale follows how many of them are active (arXiv 2510.03470).

    Args:
        branches: Modules that keep the shape of their input.
        scale: ``"1/n"``, ``"1/sqrt_n"``, ``"learnable"`` (one parameter for each branch, from
            zero) or a number.

    Example:
        >>> import torch
        >>> tower = ScaledResidualTower([nn.Identity() for _ in range(4)], scale="1/n")
        >>> tower.active_depth = 2  # the first two branches, each at one half
        >>> tower(torch.ones(1)).tolist()
        [2.25]
    """

    def __init__(self, branches: Iterable[nn.Module], *, scale: Scale = "1/sqrt_n") -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        check_positive("ScaledResidualTower", branches=len(self.branches))
        self.scale = scale
        self._active = len(self.branches)
        value = _value(scale, len(self.branches), "ScaledResidualTower")
        self.scales = (
            nn.Parameter(torch.full((len(self.branches),), value)) if scale == "learnable" else None
        )

    @property
    def active_depth(self) -> int:
        """How many branches are run, from the first; the scale follows it."""
        return self._active

    @active_depth.setter
    def active_depth(self, depth: int) -> None:
        if not 1 <= depth <= len(self.branches):
            raise BlockError(
                f"The tower got active_depth={depth}.",
                why=f"It has {len(self.branches)} branches.",
                hint=f"1 to {len(self.branches)}.",
            )
        self._active = depth

    def reset_parameters(self) -> None:
        """Draws the branches anew; learned scales return to zero."""
        for branch in self.branches:
            reset(branch)
        if self.scales is not None:
            nn.init.zeros_(self.scales)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape the branches take, kept."""
        fixed = _value(self.scale, self._active, "ScaledResidualTower")
        for i in range(self._active):
            x = x + (fixed if self.scales is None else self.scales[i]) * self.branches[i](x)
        return x

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"scale={self.scale}, active_depth={self._active}"


@implements(114)
def residual_expansion(
    branches: Sequence[Callable[[Tensor], Tensor]], x: Tensor, scale: float, *, order: int = 2
) -> Tensor:
    """A tower's output up to the second order of its scale, by the closed form.

    Args:
        branches: The branch functions.
        x: Inputs.
        scale: The scale of every branch.
        order: 0, 1 or 2.

    Raises:
        BlockError: The order has no closed form here; see `order_contributions`.

    Example:
        >>> import torch
        >>> half = lambda x: 0.5 * x
        >>> residual_expansion([half, half], torch.ones(1), 1.0).item()  # (1 + 0.5)^2
        2.25
    """
    if order not in (0, 1, 2):
        raise BlockError(
            f"residual_expansion got order={order!r}.",
            why="Closed forms are given for 0, 1 and 2.",
            hint="order_contributions for higher ones.",
        )
    total = x
    first = torch.zeros_like(x)
    second = torch.zeros_like(x)
    for branch in branches if order else ():
        if order == 2:
            value, along = _jvp(branch, x, first)
            second = second + along
        else:
            value = branch(x)
        first = first + value
    return total + scale * first + scale**2 * second


@implements(114)
def order_contributions(
    branches: Sequence[Callable[[Tensor], Tensor]], x: Tensor, scale: float, *, max_order: int = 3
) -> list[Tensor]:
    """The terms of order 0 to ``max_order`` of a tower's output, exactly.

    They are Taylor coefficients in the scale, found by nested forward derivatives, so the work
    doubles with each order.

    Args:
        branches: The branch functions, smooth at the points they meet.
        x: Inputs.
        scale: The scale of every branch; each term holds its power of it.
        max_order: Highest order, up to the number of branches for linear ones.

    Example:
        >>> import torch
        >>> half = lambda x: 0.5 * x
        >>> [t.item() for t in order_contributions([half, half], torch.ones(1), 1.0, max_order=2)]
        [1.0, 1.0, 0.25]
    """
    if max_order < 0:
        raise BlockError(
            f"order_contributions got max_order={max_order}.",
            why="Orders count from 0.",
            hint="max_order=3.",
        )

    def tower(s: Tensor) -> Tensor:
        h = x
        for branch in branches:
            h = h + s * branch(h)
        return h

    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    found: list[Tensor] = []
    function: Callable[[Tensor], Tensor] = tower
    for order in range(max_order + 1):
        found.append(function(zero) * (scale**order / math.factorial(order)))
        function = _derivative(function)
    return found


def _jvp(
    function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor]:
    """The value and the derivative along a direction."""
    with warnings.catch_warnings():
        # On its first use torch 2.13 compiles its own formulas in a way it has deprecated.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        value, along = torch.func.jvp(function, (x,), (direction,))  # type: ignore[misc]
    return value, along


def _derivative(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def slope(s: Tensor) -> Tensor:
        return _jvp(function, s, torch.ones_like(s))[1]

    return slope


@implements(114)
def geometric_complexity(
    model: Callable[[Tensor], Tensor], x: Tensor, *, probes: int = 8, generator: torch.Generator
) -> float:
    """The mean over samples of the squared Frobenius norm of the Jacobian, by random probes.

    Args:
        model: A function of a batch whose samples do not see each other.
        x: Inputs (samples, …).
        probes: Random directions of the output; the error falls with their root.
        generator: Draws the directions.

    Example:
        >>> import torch
        >>> draws = torch.Generator().manual_seed(0)
        >>> geometric_complexity(lambda x: 3 * x, torch.randn(5, 4), generator=draws)
        36.0
    """
    check_positive("geometric_complexity", probes=probes)
    output, pull = torch.func.vjp(model, x)  # type: ignore[misc]
    total = 0.0
    for _ in range(probes):
        signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
        total += float(pull(signs)[0].detach().square().sum()) / len(x)
    return total / probes
