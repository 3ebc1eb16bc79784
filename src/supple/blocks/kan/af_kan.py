"""AF-KAN: edges made of products of shifted activations (arXiv 2503.06112).

Every input is expanded into ``m = grid + order`` values ``E_ij = func(act(x_i - low_j),
act(high_j - x_i))``, a bump that generalises ReLU-KAN's; the expansion is normalised and reduced
to one value again, so that a layer has about as many weights as a linear one:

    y = W act(norm(reduce(E)))

The released code normalises the expansion over the whole batch, so that predictions depend on
what else is in the batch. Here every sample is normalised alone; ``feature_norm="batch"`` is the
released way.
"""

# B batch, I in_features, O out_features, M expansion

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_features, check_known, check_positive
from supple.papers import implements

__all__ = ["AFKAN", "AFKANLinear"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
    "relu": F.relu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
}

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cubic1": lambda a, b: (a + b) * (a.square() + b.square()),
    "cubic2": lambda a, b: (a * b).pow(3),
    "prod": lambda a, b: a * b,
    "quad1": lambda a, b: (a * b).square(),
    "quad2": lambda a, b: a * b + a.square() + b.square(),
    "sum": lambda a, b: a + b,
    "sum_prod": lambda a, b: a + b + a * b,
}

_REDUCTIONS = dict.fromkeys(("global_attn", "spatial_attn", "multistep"))
_FEATURE_NORMS = dict.fromkeys(("sample", "batch", "none"))
_EPS = 1e-12


@implements(14)
class AFKANLinear(nn.Module):
    """A layer of activation products (arXiv 2503.06112).

    With the default reduction it has ``in out + 2 in + (m + 1) + 2 m + 1`` parameters.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        grid_size: Intervals on [0, 1].
        spline_order: A product spans ``spline_order + 1`` intervals.
        activation: One of silu, relu, gelu, elu, selu, leaky_relu, softplus, sigmoid, tanh.
        func: How the two activations are joined: quad1, quad2, sum, prod, sum_prod, cubic1, cubic2.
        reduce: ``"global_attn"`` (softmax over the inputs), ``"spatial_attn"`` (a depthwise
            convolution over the inputs, softmax over the expansion) or ``"multistep"`` (a linear
            map of the expansion).
        norm: ``"layer"`` or ``"none"``, before the weight.
        feature_norm: ``"sample"``, ``"batch"`` (as released: the output of a sample depends on
            the batch) or ``"none"``.

    Example:
        >>> layer = AFKANLinear(784, 64)
        >>> sum(p.numel() for p in layer.parameters())
        51764
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        grid_size: int = 3,
        spline_order: int = 3,
        activation: str = "silu",
        func: str = "quad1",
        reduce: str = "global_attn",
        norm: str = "layer",
        feature_norm: str = "sample",
    ) -> None:
        super().__init__()
        name = "AFKANLinear"
        check_positive(
            name, in_features=in_features, out_features=out_features,
            grid_size=grid_size, spline_order=spline_order,
        )  # fmt: skip
        check_known(name, "activation", activation, ACTIVATIONS)
        check_known(name, "func", func, FUNCTIONS)
        check_known(name, "reduce", reduce, _REDUCTIONS)
        check_known(name, "norm", norm, {"layer": None, "none": None})
        check_known(name, "feature_norm", feature_norm, _FEATURE_NORMS)
        self.in_features, self.out_features = in_features, out_features
        self.grid_size, self.spline_order = grid_size, spline_order
        self.activation, self.func = activation, func
        self.reduce, self.feature_norm = reduce, feature_norm
        size = grid_size + spline_order
        self.low = nn.Parameter(torch.empty(size))
        self.high = nn.Parameter(torch.empty(size))
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.norm = nn.LayerNorm(in_features) if norm == "layer" else nn.Identity()
        self.score: nn.Module
        if reduce == "spatial_attn":
            self.score = nn.Conv1d(size, size, 3, padding=1, groups=size)
        else:
            self.score = nn.Linear(size, 1)
        self.temperature = nn.Parameter(torch.empty(())) if reduce == "global_attn" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ends on their grid, weights as a linear layer's, temperature sqrt(in)."""
        step = 1 / self.grid_size
        with torch.no_grad():
            self.low.copy_(step * (torch.arange(len(self.low)) - self.spline_order))
            self.high.copy_(self.low + step * (self.spline_order + 1))
            if self.temperature is not None:
                self.temperature.fill_(math.sqrt(self.in_features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        for part in (self.norm, self.score):
            if isinstance(part, (nn.LayerNorm, nn.Linear, nn.Conv1d)):
                part.reset_parameters()

    def expand(self, x: Tensor) -> Tensor:
        """The products (…, in_features, m), before they are normalised."""
        act = ACTIVATIONS[self.activation]
        return FUNCTIONS[self.func](act(x[..., None] - self.low), act(self.high - x[..., None]))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("AFKANLinear", x, self.in_features)
        reduced = self.norm(self._reduced(self._normalised(self.expand(x))))
        return F.linear(ACTIVATIONS[self.activation](reduced), self.weight)

    def _normalised(self, e_IM: Tensor) -> Tensor:
        if self.feature_norm == "none":
            return e_IM
        dims = (-2, -1) if self.feature_norm == "sample" else tuple(range(e_IM.dim()))
        e_IM = e_IM / e_IM.square().sum(dims, keepdim=True).clamp_min(_EPS).sqrt()
        low, high = e_IM.amin(dims, keepdim=True), e_IM.amax(dims, keepdim=True)
        return (e_IM - low) / (high - low).clamp_min(_EPS)

    def _reduced(self, e_IM: Tensor) -> Tensor:
        if self.reduce == "multistep":
            reduced: Tensor = self.score(e_IM).squeeze(-1)
            return reduced
        if self.reduce == "spatial_attn":
            flat = e_IM.flatten(0, -3) if e_IM.dim() > 2 else e_IM[None]
            shares = self.score(flat.transpose(-1, -2)).transpose(-1, -2).softmax(-1)
            attended: Tensor = (e_IM * shares.view(e_IM.shape)).sum(-1)
            return attended
        assert self.temperature is not None
        scores: Tensor = self.score(e_IM).squeeze(-1) / self.temperature.clamp_min(1.0)
        return e_IM.sum(-1) * scores.softmax(-1)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_features}, {self.out_features}, {self.activation}, {self.func}"


@implements(14)
class AFKAN(nn.Sequential):
    """Several `AFKANLinear` layers.

    Args:
        sizes: Widths from input to output, at least two.
        **settings: Settings of `AFKANLinear`.

    Example:
        >>> len(AFKAN([784, 64, 10]))
        2
    """

    def __init__(self, sizes: Sequence[int], **settings: str | int) -> None:
        super().__init__(*(AFKANLinear(a, b, **settings) for a, b in pairwise(sizes)))  # type: ignore[arg-type]
        self.in_features, self.out_features = sizes[0], sizes[-1]

    def reset_parameters(self) -> None:
        """Draws the weights of all layers anew."""
        for layer in self:
            assert isinstance(layer, AFKANLinear)
            layer.reset_parameters()
