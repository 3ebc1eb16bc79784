"""EvoNorm: normalisation and activation found together by evolution, in one layer.

The B layers divide by the larger of a batch statistic and a statistic of the sample; the S layers
use the sample alone and so do not care how large the batch is. Both replace a norm *and* the
activation after it.

Paper 50: Liu, Brock, Simonyan, Le, "Evolving Normalization-Activation Layers" (arXiv 2004.02967).
"""

# B batch, C channels, H height, W width, G groups

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from supple.blocks._checks import (
    check_channels,
    check_divides,
    check_option,
    check_positive,
    check_rank,
)
from supple.papers import implements

__all__ = ["EvoNorm2d", "replace_norm_act"]

Kind = Literal["B0", "B1", "B2", "S0", "S1", "S2"]


@implements(50)
class EvoNorm2d(nn.Module):
    """One of the six published layers.

    With batch variance ``s2``, variance ``i2`` and mean square ``q2`` of a channel of one sample,
    and variance ``g2`` and mean square ``h2`` of a group of channels of one sample:

    ====  =====================================
    B0    x / max(sqrt(s2), v x + sqrt(i2))
    B1    x / max(sqrt(s2), (x + 1) sqrt(q2))
    B2    x / max(sqrt(s2), sqrt(q2) - x)
    S0    x sigmoid(v x) / sqrt(g2)
    S1    x sigmoid(x) / sqrt(g2)
    S2    x sigmoid(x) / sqrt(h2)
    ====  =====================================

    each with ``eps`` under the root and followed by a scale and a shift for each channel.
    Variances divide by the number of values; the moving average that B layers use in evaluation
    is of the unbiased one.

    Args:
        num_features: Number of channels.
        kind: Which layer.
        groups: Groups of the S layers; must divide the channels.
        act: Without it only scale and shift are left, as before a residual addition.
        eps: Added to variances and mean squares.
        momentum: Weight of the newest batch in the moving average.

    Raises:
        BlockError: The groups do not divide the channels, or the input has another shape.

    Example:
        >>> EvoNorm2d(num_features=8, kind="S0", groups=4)(torch.randn(2, 8, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    running_var: Tensor | None
    v: nn.Parameter | None

    def __init__(
        self,
        *,
        num_features: int,
        kind: Kind = "S0",
        groups: int = 32,
        act: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_option(self, "kind", kind, get_args(Kind))
        check_positive(self, num_features=num_features, groups=groups, eps=eps)
        if kind[0] == "S":
            check_divides(self, "num_features", num_features, "groups", groups)
        self.num_features = num_features
        self.kind = kind
        self.groups = groups
        self.act = act
        self.eps = eps
        self.momentum = momentum
        ones = torch.ones(num_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(ones.clone())
        self.bias = nn.Parameter(torch.zeros_like(ones))
        has_slope = act and kind.endswith("0")
        self.register_parameter("v", nn.Parameter(ones.clone()) if has_slope else None)
        self.register_buffer("running_var", ones if act and kind[0] == "B" else None)

    def reset_parameters(self) -> None:
        """Scale and slope one, shift zero, variance one."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.ones_(self.v)
        if self.running_var is not None:
            self.running_var.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        check_rank(self, x, exactly=4)
        check_channels(self, x, self.num_features)
        if self.act:
            x = self._batch_kind(x) if self.kind[0] == "B" else self._sample_kind(x)
        return x * _per_channel(self.weight) + _per_channel(self.bias)

    def _batch_kind(self, x: Tensor) -> Tensor:
        # Mean and variance of each map give the batch's too, without reading x again.
        spread = x.var((2, 3), correction=0, keepdim=True)
        mean = x.mean((2, 3), keepdim=True)
        batch_std = _per_channel((self._batch_variance(x, spread, mean) + self.eps).sqrt())
        if self.v is not None:
            other = x * _per_channel(self.v) + (spread + self.eps).sqrt()
        else:
            size = (spread + mean.square() + self.eps).sqrt()
            other = (x + 1) * size if self.kind == "B1" else size - x
        return x / torch.maximum(batch_std, other)

    def _batch_variance(self, x: Tensor, spread: Tensor, mean: Tensor) -> Tensor:
        assert self.running_var is not None
        if not self.training:
            return self.running_var
        variance = (spread.mean(0) + mean.var(0, correction=0)).flatten()
        count = x.shape[0] * x.shape[2] * x.shape[3]
        if count > 1:  # one value has no unbiased variance
            with torch.no_grad():
                unbiased = variance.detach() * (count / (count - 1))
                self.running_var.mul_(1 - self.momentum).add_(unbiased, alpha=self.momentum)
        return variance

    def _sample_kind(self, x: Tensor) -> Tensor:
        x_BGchw = _in_groups(x, self.groups)
        if self.kind == "S2":
            power = x_BGchw.square().mean((2, 3, 4), keepdim=True)
        else:
            power = x_BGchw.var((2, 3, 4), correction=0, keepdim=True)
        gate = x if self.v is None else x * _per_channel(self.v)
        raised = _in_groups(x * torch.sigmoid(gate), self.groups)
        return torch.flatten(raised / (power + self.eps).sqrt(), 1, 2)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        groups = f", groups={self.groups}" if self.kind[0] == "S" else ""
        return f"num_features={self.num_features}, kind={self.kind!r}{groups}, act={self.act}"


def _in_groups(x: Tensor, groups: int) -> Tensor:
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def _per_channel(value: Tensor) -> Tensor:
    return value.reshape(-1, 1, 1)


@implements(50)
def replace_norm_act(model: nn.Module, *, kind: Kind = "S0", groups: int = 32) -> nn.Module:
    """A copy of a model with each norm and activation that follow each other made one EvoNorm.

    Pairs are looked for where the order of the calls is known: neighbours in an
    ``nn.Sequential``. Scale and shift are taken over; the activation becomes the identity.

    Args:
        model: Any module; it is not changed.
        kind: Which layer.
        groups: Groups of the S layers; the largest common divisor with the channels is taken.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> [type(part).__name__ for part in replace_norm_act(net)]
        ['Conv2d', 'EvoNorm2d', 'Identity']
    """
    twin = copy.deepcopy(model)
    for parent, name, after in _pairs(twin):
        norm = getattr(parent, name)
        channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
        like = next(norm.parameters(), None)
        layer = EvoNorm2d(
            num_features=channels,
            kind=kind,
            groups=math.gcd(groups, channels),
            device=None if like is None else like.device,
            dtype=None if like is None else like.dtype,
        ).train(norm.training)
        if norm.weight is not None:
            layer.weight.data.copy_(norm.weight.data)
            layer.bias.data.copy_(norm.bias.data)
        setattr(parent, name, layer)
        setattr(parent, after, nn.Identity())
    return twin


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    for parent in list(model.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        parts = list(parent.named_children())
        for (name, norm), (after, act) in pairwise(parts):
            if isinstance(norm, (nn.BatchNorm2d, nn.GroupNorm)) and isinstance(
                act, (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.LeakyReLU)
            ):
                yield parent, name, after
