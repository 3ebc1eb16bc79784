"""Product units: ``prod_i x_i ^ w_i`` (the multitask networks of arXiv 2401.15377).

A product unit multiplies its inputs, each to a learned power, so that a few of them write down a
power law exactly: ``exp(W log x)`` for positive inputs. Inputs are scaled to [1, 2] in this
school; far outside that the powers explode.

The exponents are kept inside ``[-bound, bound]`` by clipping in the call, and start in
[-0.5, 0.5]: gradients of products are violent otherwise.
"""

# B batch, I in_features, H product units, T tasks

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_features, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["ProductUnit", "ProductUnitNet", "standard_error_of_prediction"]


@implements(44)
class ProductUnit(nn.Module):
    """``exp(W log x)``: every output is a product of powers of the inputs (arXiv 2401.15377).

    Args:
        in_features: Width of the input, whose values must be positive.
        out_features: Number of units.
        exponent_bound: Largest absolute exponent; finite, above zero.
        smallest: Inputs below this count as this, so that no logarithm is infinite.

    Example:
        >>> import torch
        >>> unit = ProductUnit(2, 1)
        >>> with torch.no_grad():
        ...     _ = unit.weight.copy_(torch.tensor([[2.0, -1.0]]))
        >>> round(unit(torch.tensor([[3.0, 2.0]])).item(), 4)
        4.5
    """

    def __init__(
        self, in_features: int, out_features: int, *, exponent_bound: float = 5.0,
        smallest: float = 1e-6,
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive("ProductUnit", in_features=in_features, out_features=out_features)
        for name, value in (("exponent_bound", exponent_bound), ("smallest", smallest)):
            if not 0 < value < math.inf:
                raise BlockError(
                    f"ProductUnit got {name}={value!r}.",
                    why="It must be a finite number above zero.",
                    hint=f"{name}={5.0 if name == 'exponent_bound' else 1e-6}.",
                )
        self.in_features, self.out_features = in_features, out_features
        self.exponent_bound, self.smallest = exponent_bound, smallest
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the exponents from [-0.5, 0.5]."""
        nn.init.uniform_(self.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features), positive, to (…, out_features)."""
        check_features("ProductUnit", x, self.in_features)
        exponents = self.weight.clamp(-self.exponent_bound, self.exponent_bound)
        return torch.exp(F.linear(x.clamp_min(self.smallest).log(), exponents))

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_features}, {self.out_features}, exponent_bound={self.exponent_bound}"


@implements(44)
class ProductUnitNet(nn.Module):
    """Product units shared by all tasks, and a linear map of them (arXiv 2401.15377).

    It has ``in hidden + (hidden + 1) out`` parameters.

    Args:
        in_features: Width of the input, whose values must be positive.
        out_features: Number of tasks.
        hidden_features: Number of product units.
        exponent_bound: Largest absolute exponent.

    Example:
        >>> import torch
        >>> net = ProductUnitNet(3, 2, hidden_features=4)
        >>> net(torch.rand(5, 3) + 1).shape
        torch.Size([5, 2])
    """

    def __init__(
        self, in_features: int, out_features: int, *, hidden_features: int = 3,
        exponent_bound: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive("ProductUnitNet", out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.units = ProductUnit(in_features, hidden_features, exponent_bound=exponent_bound)
        self.head = nn.Linear(hidden_features, out_features)

    def reset_parameters(self) -> None:
        """Draws exponents and coefficients anew."""
        self.units.reset_parameters()
        self.head.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features), positive, to (…, out_features)."""
        check_features("ProductUnitNet", x, self.in_features)
        y: Tensor = self.head(self.units(x))
        return y

    def solve_head(self, x: Tensor, y: Tensor, *, ridge: float = 0.0) -> None:
        """Sets the linear map to the least-squares one for these inputs and targets.

        Args:
            x: Inputs (samples, in_features).
            y: Targets (samples, out_features).
            ridge: Penalty on the squared coefficients, in units of the mean square of the units'
                outputs; keeps nearly equal units apart.
        """
        with torch.no_grad():
            units = self.units(x)
            ones = torch.ones_like(units[:, :1])
            known = torch.cat([units, ones], 1)
            penalty = math.sqrt(ridge * len(x)) * torch.diag(units.square().mean(0).sqrt())
            rows = torch.cat([penalty, torch.zeros_like(penalty[:, :1])], 1)
            solved = torch.linalg.lstsq(
                torch.cat([known, rows]), torch.cat([y, y.new_zeros(len(rows), y.shape[1])])
            ).solution
            self.head.weight.copy_(solved[:-1].T)
            self.head.bias.copy_(solved[-1])

    def formula(self, names: Sequence[str] | None = None, *, digits: int = 6) -> list[str]:
        """One readable line for each task: a sum of products of powers.

        Args:
            names: Names of the inputs; x1, x2, … by default.
            digits: Significant digits of the numbers.

        Example:
            >>> import torch
            >>> net = ProductUnitNet(2, 1, hidden_features=1)
            >>> with torch.no_grad():
            ...     _ = net.units.weight.copy_(torch.tensor([[2.0, -1.0]]))
            ...     _ = net.head.weight.fill_(3.0), net.head.bias.fill_(2.0)
            >>> net.formula(digits=3)
            ['2 + 3*x1**2*x2**-1']
        """
        names = names or [f"x{i + 1}" for i in range(self.in_features)]
        bound = self.units.exponent_bound
        powers = self.units.weight.detach().clamp(-bound, bound).tolist()
        products = [
            "*".join(f"{name}**{_shown(p, digits)}" for name, p in zip(names, row, strict=True))
            for row in powers
        ]
        weights, biases = self.head.weight.tolist(), self.head.bias.tolist()
        return [
            " + ".join(
                [_shown(bias, digits)]
                + [f"{_shown(w, digits)}*{p}" for w, p in zip(row, products, strict=True)]
            )
            for row, bias in zip(weights, biases, strict=True)
        ]


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


@implements(44)
def standard_error_of_prediction(predicted: Tensor, target: Tensor) -> Tensor:
    """SEP in percent: 100 sqrt(MSE) / |mean of the targets|, for each task.

    Args:
        predicted: Shape (samples, tasks) or (samples,).
        target: The same shape.

    Raises:
        BlockError: A task's targets have mean zero, for which SEP is not defined.

    Example:
        >>> import torch
        >>> standard_error_of_prediction(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])).item()
        50.0
    """
    mean = target.mean(0)
    if bool((mean == 0).any()):
        raise BlockError(
            "The standard error of prediction was asked for targets of mean zero.",
            why="It is relative to the mean.",
            hint="the root mean square error.",
        )
    return 100 * (predicted - target).square().mean(0).sqrt() / mean.abs()
