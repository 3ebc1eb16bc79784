"""Self-normalizing networks: SELU, alpha dropout and LeCun's first weights (arXiv 1706.02515).

With SELU, weights of mean 0 and variance 1/fan_in and standardised inputs, mean 0 and variance 1
attract the statistics of every layer, so that deep plain networks train without normalisation.

`moment_map` is the map of a layer's input mean and variance to its output's; `selu_parameters`
solves it for any other fixed point. A residual sum doubles the variance and breaks the property.
"""

from __future__ import annotations

import copy
import math
import warnings

import torch
from torch import Tensor, nn

from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "SELU",
    "AlphaDropout",
    "lecun_normal_",
    "make_self_normalizing",
    "moment_map",
    "selu_parameters",
    "weight_sums",
]

LAMBDA = 1.0507009873554805
ALPHA = 1.6732632423543772


@implements(110)
class SELU(nn.Module):
    """``scale x`` above zero, ``scale alpha (exp(x) - 1)`` below (arXiv 1706.02515).

    Args:
        scale: The paper's lambda; the default gives the fixed point (0, 1).
        alpha: The paper's alpha.

    Example:
        >>> import torch
        >>> round(SELU()(torch.tensor(1.0)).item(), 4)
        1.0507
    """

    def __init__(self, *, scale: float = LAMBDA, alpha: float = ALPHA) -> None:
        super().__init__()
        self.scale, self.alpha = scale, alpha

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        return nn.functional.elu(x, self.alpha) * self.scale

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"scale={self.scale}, alpha={self.alpha}"


@implements(110)
class AlphaDropout(nn.Module):
    """Dropout that keeps a mean and variance (arXiv 1706.02515).

    Dropped values become SELU's lower limit; a scale and a shift then restore the moments.

    Args:
        p: Share of values that are dropped in training, from 0 up to but not including 1.
        limit: What dropped values become; SELU's ``-scale alpha`` by default.
        mean: Mean that is kept.
        variance: Variance that is kept.

    Example:
        >>> import torch
        >>> layer = AlphaDropout(p=0.1).eval()
        >>> layer(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(
        self, *, p: float = 0.05, limit: float = -LAMBDA * ALPHA, mean: float = 0.0,
        variance: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 <= p < 1:
            raise BlockError(
                f"AlphaDropout got p={p!r}.",
                why="It is the share of values that are dropped.",
                hint="p=0.05.",
            )
        self.p, self.limit, self.mean, self.variance = p, limit, mean, variance

    def coefficients(self) -> tuple[float, float]:
        """Scale and shift after dropping."""
        keep = 1 - self.p
        spread = keep * (self.p * (self.limit - self.mean) ** 2 + self.variance)
        scale = math.sqrt(self.variance / spread)
        return scale, self.mean - scale * (keep * self.mean + self.p * self.limit)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, kept."""
        if not self.training or self.p == 0:
            return x
        scale, shift = self.coefficients()
        kept = torch.rand_like(x) >= self.p
        return torch.where(kept, x, torch.full_like(x, self.limit)) * scale + shift

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"p={self.p}"


@implements(110)
def lecun_normal_(weight: Tensor) -> Tensor:
    """Fills a weight with draws of variance 1/fan_in, and returns it.

    Example:
        >>> import torch
        >>> lecun_normal_(torch.empty(400, 100)).std().item() < 0.11
        True
    """
    return nn.init.kaiming_normal_(weight, nonlinearity="linear")


@implements(110)
def moment_map(
    mean: float, variance: float, *, omega: float = 0.0, tau: float = 1.0,
    scale: float = LAMBDA, alpha: float = ALPHA,
) -> tuple[float, float]:  # fmt: skip
    """Mean and variance after one layer of SELU units with many inputs.

    Args:
        mean: Mean of the inputs.
        variance: Their variance.
        omega: Sum of a unit's weights.
        tau: Sum of their squares.
        scale: SELU's lambda.
        alpha: SELU's alpha.

    Raises:
        BlockError: ``variance * tau`` is not above zero: there is nothing to map.

    Example:
        >>> mean, variance = moment_map(0.1, 1.5)
        >>> round(mean, 3), round(variance, 3)
        (0.045, 1.372)
    """
    from scipy.special import erf, erfc, erfcx

    m, s = mean * omega, variance * tau
    if not s > 0:
        raise BlockError(
            f"moment_map got variance={variance} and tau={tau}.",
            why="Their product is the variance before the activation and must be above zero.",
            hint="the moments of inputs that vary, and weights that are not all zero.",
        )
    r = math.sqrt(2 * s)
    density = math.exp(-m * m / (2 * s))
    # exp(m + s/2) erfc((m + s)/r) without the overflow of its factors; likewise the second.
    first = float(erfcx((m + s) / r)) * density
    second = float(erfcx((m + 2 * s) / r)) * density
    tail = float(erfc(m / r))
    bulge = math.sqrt(2 / math.pi) * math.sqrt(s) * density
    new = 0.5 * scale * (m * float(erf(m / r)) + alpha * first - alpha * tail + bulge + m)
    square = (
        0.5 * scale**2
        * ((m * m + s) * (2 - tail) + alpha**2 * (-2 * first + second + tail) + m * bulge)
    )  # fmt: skip
    return new, square - new * new


@implements(110)
def selu_parameters(mean: float = 0.0, variance: float = 1.0) -> tuple[float, float]:
    """SELU's (scale, alpha) for which this mean and variance are the fixed point.

    It is the fixed point for weights of sum 0 and sum of squares 1.

    Raises:
        BlockError: No such function exists or it was not found.

    Example:
        >>> scale, alpha = selu_parameters(0.0, 1.0)
        >>> round(scale, 6), round(alpha, 6)
        (1.050701, 1.673263)
    """
    from scipy.optimize import root

    def off(values: tuple[float, float]) -> tuple[float, float]:
        new, spread = moment_map(mean, variance, scale=values[0], alpha=values[1])
        return new - mean, spread - variance

    found = root(off, (LAMBDA, ALPHA), tol=1e-14)
    scale, alpha = (float(v) for v in found.x)
    if max(map(abs, off((scale, alpha)))) > 1e-9 or scale <= 0 or alpha <= 0:
        raise BlockError(
            f"No SELU has its fixed point at mean {mean} and variance {variance}.",
            why="The two equations for scale and alpha have no positive solution near the usual.",
            hint="a mean nearer to 0 and a variance nearer to 1.",
        )
    return scale, alpha


@implements(110)
def weight_sums(layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> tuple[Tensor, Tensor]:
    """The sum and the sum of squares of every unit's weights: the paper's omega and tau.

    Example:
        >>> omega, tau = weight_sums(nn.Linear(4, 3))
        >>> omega.shape, tau.shape
        (torch.Size([3]), torch.Size([3]))
    """
    flat = layer.weight.detach().flatten(1)
    return flat.sum(1), flat.square().sum(1)


_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
)  # fmt: skip
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d,
)  # fmt: skip


@implements(110)
def make_self_normalizing(model: nn.Module) -> nn.Module:
    """A copy of a model with SELU, alpha dropout, and weights drawn as the paper asks.

    Weights of linear layers and convolutions are drawn anew and biases are zero. Normalisation
    layers are left, with a warning: they are not needed and change the map.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        >>> [type(m).__name__ for m in make_self_normalizing(model)]
        ['Linear', 'SELU', 'AlphaDropout', 'Linear']
    """
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        made: nn.Module | None = None
        if isinstance(module, _ACTIVATIONS):
            made = SELU()
        elif isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)):
            made = AlphaDropout(p=module.p)
        elif isinstance(module, _NORMS):
            warnings.warn(
                f"'{name}' is a {type(module).__name__}; self-normalizing networks have none.",
                stacklevel=2,
            )
        elif isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            lecun_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if made is not None and name:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, made.train(module.training))
    return model
