"""Polynomial composition activations: PolyReLU and PolyNorm (arXiv 2411.03884).

    PolyReLU(x) = a_0 + sum_i a_i relu(x)^i
    PolyNorm(x) = a_0 + sum_i a_i x^i / rms(x^i)      rms over the features

One set of coefficients for a layer, starting at 1/degree each and 0 for the constant. Powers are
taken in float32 where the input is of half precision, whose cubes overflow or lose their digits.
"""

# B batch, D features

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from supple.blocks._sizes import check_features, check_known, check_positive
from supple.papers import implements

__all__ = ["PolyCom", "PolyNorm", "PolyNormFFN", "PolyReLU", "parameter_groups"]

_MODES = dict.fromkeys(("power_outside", "power_inside"))


class _Polynomial(nn.Module):
    """Coefficients of a polynomial without and with the constant."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        check_positive(type(self).__name__, degree=degree)
        self.degree = degree
        self.coefficients = nn.Parameter(torch.empty(degree + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All coefficients 1/degree, the constant 0."""
        with torch.no_grad():
            self.coefficients.fill_(1 / self.degree)
            self.coefficients[0] = 0.0

    def _horner(self, x: Tensor) -> Tensor:
        total = self.coefficients[self.degree] * x
        for i in range(self.degree - 1, 0, -1):
            total = (total + self.coefficients[i]) * x
        return total + self.coefficients[0]

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"degree={self.degree}"


def _exact(x: Tensor) -> Tensor:
    """Half precision as float32, the rest as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@implements(40)
class PolyReLU(_Polynomial):
    """``a_0 + sum_i a_i relu(x)^i`` (arXiv 2411.03884).

    Args:
        degree: Highest power.

    Example:
        >>> import torch
        >>> PolyReLU(degree=2)(torch.tensor([-1.0, 2.0])).tolist()
        [0.0, 3.0]
    """

    def __init__(self, *, degree: int = 3) -> None:
        super().__init__(degree)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return self._horner(torch.relu(_exact(x))).to(x.dtype)


@implements(40)
class PolyNorm(_Polynomial):
    """``a_0 + sum_i a_i x^i / rms(x^i)`` over the last dimension (arXiv 2411.03884).

    It mixes the features: a narrower network takes the mean over what it has. Without ``eps`` it
    does not see a positive factor of its input.

    Args:
        degree: Highest power.
        eps: Added to the mean square.

    Example:
        >>> import torch
        >>> PolyNorm(degree=1, eps=0.0)(torch.tensor([3.0, 4.0])).square().mean().item()
        1.0
    """

    def __init__(self, *, degree: int = 3, eps: float = 1e-6) -> None:
        super().__init__(degree)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, features), kept."""
        exact = _exact(x)
        total = self.coefficients[0]
        power = exact
        for i in range(1, self.degree + 1):
            if i > 1:
                power = power * exact
            scale = torch.rsqrt(power.square().mean(-1, keepdim=True) + self.eps)
            total = total + self.coefficients[i] * power * scale
        return total.to(x.dtype)


@implements(40)
class PolyCom(_Polynomial):
    """Any function composed with a polynomial (arXiv 2411.03884).

    Args:
        inner: The function.
        degree: Highest power.
        mode: ``"power_outside"``: ``sum_i a_i inner(x)^i``; ``"power_inside"``:
            ``sum_i a_i inner(x^i)``.

    Example:
        >>> import torch
        >>> PolyCom(torch.tanh, degree=2)(torch.zeros(3)).tolist()
        [0.0, 0.0, 0.0]
    """

    def __init__(
        self, inner: Callable[[Tensor], Tensor], *, degree: int = 3, mode: str = "power_outside"
    ) -> None:
        super().__init__(degree)
        check_known("PolyCom", "mode", mode, _MODES)
        self.inner, self.mode = inner, mode

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        exact = _exact(x)
        if self.mode == "power_outside":
            return self._horner(self.inner(exact)).to(x.dtype)
        total = self.coefficients[0]
        power = exact
        for i in range(1, self.degree + 1):
            if i > 1:
                power = power * exact
            total = total + self.coefficients[i] * self.inner(power)
        return total.to(x.dtype)


@implements(40)
class PolyNormFFN(nn.Module):
    """The feed-forward part of a Transformer with `PolyNorm` and no gate (arXiv 2411.03884).

    It has ``2 in hidden + degree + 1`` parameters: at ``hidden = 4 in`` as many as SwiGLU with
    its three matrices at 8/3.

    Args:
        in_features: Width of input and output.
        hidden_features: Width inside; four times as wide by default.
        degree: Highest power.

    Example:
        >>> import torch
        >>> PolyNormFFN(8)(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self, in_features: int, hidden_features: int | None = None, *, degree: int = 3
    ) -> None:
        super().__init__()
        hidden = 4 * in_features if hidden_features is None else hidden_features
        check_positive("PolyNormFFN", in_features=in_features, hidden_features=hidden)
        self.in_features = self.out_features = in_features
        self.up = nn.Linear(in_features, hidden, bias=False)
        self.activation = PolyNorm(degree=degree)
        self.down = nn.Linear(hidden, in_features, bias=False)

    def reset_parameters(self) -> None:
        """Draws both matrices anew; the polynomial returns to its first coefficients."""
        self.up.reset_parameters()
        self.activation.reset_parameters()
        self.down.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features), kept."""
        check_features("PolyNormFFN", x, self.in_features)
        y: Tensor = self.down(self.activation(self.up(x)))
        return y


@implements(40)
def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimiser in which the coefficients of polynomials do not decay.

    Weight decay on four numbers would pull every activation of a network towards zero.

    Example:
        >>> groups = parameter_groups(PolyNormFFN(8), 0.1)
        >>> [(len(g["params"]), g["weight_decay"]) for g in groups]
        [(2, 0.1), (1, 0.0)]
    """
    kept = {id(p) for p in _coefficients(model)}
    return [
        {"params": [p for p in model.parameters() if (id(p) in kept) is own], "weight_decay": decay}
        for own, decay in ((False, weight_decay), (True, 0.0))
    ]


def _coefficients(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        if isinstance(module, _Polynomial):
            yield module.coefficients
