"""S-KAN and S-ConvKAN: every node chooses its base of functions (arXiv 2408.08338).

A node (one output) is a mixture over a pool of bases, ``y_o = sum_k w_ok sum_i phi_k,oi(x_i)``.
It is trained in three stages: all bases; selection, in which the mixture gets sharper; and, with
one base left for each node, fine-tuning. ``harden`` gives the pruned layer of the last stage.

The paper leaves the mixture and the stages open. Chosen: ``w = softmax(logits / temperature)``,
temperature 1 in the first stage, falling geometrically to 0.1 in the second; stages of 40, 40 and
20 %; B-splines and bumps on [-2, 2], so that all bases expect inputs of one range, and first
weights of equal output variance, so that selection is by fit and not by scale.
"""

# B batch, I inputs, O outputs, K bases, M functions of all bases

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_channels, check_features, check_known, check_positive
from supple.blocks.kan.bases import BASES, UnivariateBasis, basis
from supple.blocks.kan.kan_linear import KANConv2d, KANLinear
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "POOL",
    "HardenedKANConv2d",
    "HardenedKANLinear",
    "SelectableKANConv2d",
    "SelectableKANLinear",
    "SelectionSchedule",
]

POOL = ("bspline", "rbf", "chebyshev", "wavelet", "jacobi", "fourier", "silu")
"""The bases a node may choose from by default."""

_ON_TWO = {"bspline": {"low": -2.0, "high": 2.0}, "relu_bump": {"low": -2.0, "high": 2.0}}


@implements(24)
@dataclass(frozen=True, kw_only=True)
class SelectionSchedule:
    """Which stage training is in, and how sharp the mixture is.

    Attributes:
        full: Share of training in which all bases learn freely.
        select: Share in which the temperature falls.
        start: Temperature of the first stage.
        end: Temperature at the end of the second.

    Example:
        >>> schedule = SelectionSchedule()
        >>> schedule.stage(0.5), round(schedule.temperature(0.6), 3)
        ('select', 0.316)
    """

    full: float = 0.4
    select: float = 0.4
    start: float = 1.0
    end: float = 0.1

    def __post_init__(self) -> None:
        if min(self.full, self.select) < 0 or self.full + self.select > 1:
            raise BlockError(
                f"SelectionSchedule got stages of {self.full} and {self.select}.",
                why="They are shares of the training, and the rest is fine-tuning.",
                hint="full=0.4, select=0.4.",
            )

    def stage(self, progress: float) -> Literal["full", "select", "finetune"]:
        """The stage at a share of the training done."""
        if progress < self.full:
            return "full"
        return "select" if progress < self.full + self.select else "finetune"

    def temperature(self, progress: float) -> float:
        """The temperature at a share of the training done."""
        done = (progress - self.full) / self.select if self.select else 1.0
        return float(self.start * (self.end / self.start) ** min(max(done, 0.0), 1.0))


class _Selectable(nn.Module):
    """Bases, their coefficients and the mixture, for linear layers and convolutions."""

    temperature: Tensor
    bias: Tensor | None

    def __init__(
        self, size_in: int, size_out: int, window: tuple[int, ...], bases: Sequence[str],
        granularity: str, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_known(name, "granularity", granularity, {"node": None, "layer": None})
        if not bases or len(set(bases)) != len(bases):
            raise BlockError(
                f"{name} got bases={list(bases)!r}.",
                why="The pool needs at least one base, and each once.",
                hint=f"some of {sorted(BASES)}.",
            )
        self.names, self.granularity = tuple(bases), granularity
        self.bases = nn.ModuleList(basis(kind, **_ON_TWO.get(kind, {})) for kind in bases)
        self.weights = nn.ParameterList(
            torch.empty(size_out, size_in, self._base(k).size, *window) for k in range(len(bases))
        )
        self.logits = nn.Parameter(
            torch.empty(size_out if granularity == "node" else 1, len(bases))
        )
        self.bias = nn.Parameter(torch.empty(size_out)) if bias else None
        self.register_buffer("temperature", torch.ones(()))

    def _base(self, k: int) -> UnivariateBasis:
        found = self.bases[k]
        assert isinstance(found, UnivariateBasis)
        return found

    def reset_parameters(self) -> None:
        """Draws the coefficients anew; the mixture is even and the temperature one."""
        for k, weight in enumerate(self.weights):
            base = self._base(k)
            base.reset_parameters()
            terms = base.mean_square() * weight[0, :, 0].numel()
            nn.init.normal_(weight, std=max(terms, 1e-12) ** -0.5)
        nn.init.zeros_(self.logits)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.temperature.fill_(1.0)

    def mixture(self) -> Tensor:
        """The share of each base: (nodes or 1, bases), rows sum to one."""
        return (self.logits / self.temperature).softmax(-1)

    def selected(self) -> list[str]:
        """The strongest base of each node (of the layer where that is the granularity)."""
        return [self.names[k] for k in self.logits.argmax(-1).tolist()]

    def one_hot(self) -> None:
        """Leaves each node its strongest base only, in place: what ``harden`` computes."""
        best = self.logits.argmax(-1, keepdim=True)
        with torch.no_grad():
            self.logits.fill_(-torch.inf).scatter_(1, best, 0.0)

    def _features(self, x: Tensor) -> Tensor:
        return torch.cat([base(x) for base in self.bases], -1)

    def _mixed_weight(self) -> Tensor:
        shares = self.mixture()
        parts = []
        for k, weight in enumerate(self.weights):
            share = shares[:, k]
            parts.append(weight * share.view(-1, *[1] * (weight.dim() - 1)))
        return torch.cat(parts, 2)


@implements(24)
class SelectableKANLinear(_Selectable):
    """A Kolmogorov-Arnold layer that chooses its bases (arXiv 2408.08338).

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        bases: Names of the pool.
        granularity: ``"node"`` (each output chooses) or ``"layer"``.
        bias: Add a bias.

    Example:
        >>> import torch
        >>> layer = SelectableKANLinear(2, 3, bases=["rbf", "fourier"])
        >>> layer(torch.randn(5, 2)).shape
        torch.Size([5, 3])
        >>> layer.mixture()[0].tolist()
        [0.5, 0.5]
    """

    def __init__(
        self, in_features: int, out_features: int, *, bases: Sequence[str] = POOL,
        granularity: str = "node", bias: bool = True,
    ) -> None:  # fmt: skip
        check_positive("SelectableKANLinear", in_features=in_features, out_features=out_features)
        super().__init__(in_features, out_features, (), bases, granularity, bias)
        self.in_features, self.out_features = in_features, out_features
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("SelectableKANLinear", x, self.in_features)
        return F.linear(self._features(x).flatten(-2), self._mixed_weight().flatten(1), self.bias)

    def harden(self) -> HardenedKANLinear:
        """The layer with the strongest base of each node only, its weights copied."""
        return HardenedKANLinear(self)


@implements(24)
class SelectableKANConv2d(_Selectable):
    """A convolution that chooses its bases (S-ConvKAN, arXiv 2408.08338).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Window, square.
        stride: Step of the window.
        padding: Zeros around the image of functions.
        bases: Names of the pool.
        granularity: ``"node"`` (each output channel chooses) or ``"layer"``.
        bias: Add a bias.

    Example:
        >>> import torch
        >>> layer = SelectableKANConv2d(1, 2, 3, padding=1, bases=["silu", "chebyshev"])
        >>> layer(torch.randn(1, 1, 8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1,
        padding: int = 0, bases: Sequence[str] = POOL, granularity: str = "node",
        bias: bool = True,
    ) -> None:  # fmt: skip
        check_positive(
            "SelectableKANConv2d", in_channels=in_channels, out_channels=out_channels,
            kernel_size=kernel_size, stride=stride,
        )  # fmt: skip
        window = (kernel_size, kernel_size)
        super().__init__(in_channels, out_channels, window, bases, granularity, bias)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, in_channels, height, width) to (batch, out_channels, …)."""
        check_channels("SelectableKANConv2d", x, self.in_channels, 2)
        features = self._features(x).permute(0, 1, 4, 2, 3).flatten(1, 2)
        weight = self._mixed_weight().flatten(1, 2)
        return F.conv2d(features, weight, self.bias, self.stride, self.padding)

    def harden(self) -> HardenedKANConv2d:
        """The layer with the strongest base of each node only, its weights copied."""
        return HardenedKANConv2d(self)


class _Hardened(nn.Module):
    """One plain layer for the outputs of each base that was chosen."""

    position: Tensor
    _dim = 1

    def __init__(self, layer: _Selectable, outputs: int) -> None:
        super().__init__()
        chosen = layer.logits.argmax(-1)
        chosen = chosen.expand(outputs) if len(chosen) == 1 else chosen
        self.parts = nn.ModuleList()
        groups = []
        for k in range(len(layer.names)):
            picked = (chosen == k).nonzero().flatten()
            if len(picked):
                groups.append(picked)
                self.parts.append(self._copied(layer, k, picked))
        self.register_buffer("position", torch.cat(groups).argsort())
        self.train(layer.training)

    def _copied(self, layer: _Selectable, k: int, picked: Tensor) -> nn.Module:
        part = self._plain(layer, layer.names[k], len(picked)).to(layer.logits)
        with torch.no_grad():
            for own, theirs in zip(
                part.basis.parameters(), layer.bases[k].parameters(), strict=True
            ):
                own.copy_(theirs)
            part.weight.copy_(layer.weights[k][picked])
            if part.bias is not None and layer.bias is not None:
                part.bias.copy_(layer.bias[picked])
        return part

    def _plain(self, layer: _Selectable, name: str, outputs: int) -> KANLinear | KANConv2d:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draws the coefficients anew; each node keeps its base."""
        for part in self.parts:
            assert isinstance(part, (KANLinear, KANConv2d))
            part.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The shape of the layer it came from."""
        return torch.cat([part(x) for part in self.parts], self._dim).index_select(
            self._dim, self.position
        )


class HardenedKANLinear(_Hardened):
    """What `SelectableKANLinear.harden` gives: each node with one base.

    Args:
        layer: The trained layer.

    Example:
        >>> layer = SelectableKANLinear(2, 3, bases=["rbf", "silu"], granularity="layer")
        >>> [part.basis.size for part in layer.harden().parts]
        [8]
    """

    _dim = -1

    def __init__(self, layer: SelectableKANLinear) -> None:
        super().__init__(layer, layer.out_features)
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def _plain(self, layer: _Selectable, name: str, outputs: int) -> KANLinear:
        assert isinstance(layer, SelectableKANLinear)
        return KANLinear(
            layer.in_features, outputs, basis=basis(name, **_ON_TWO.get(name, {})),
            residual=False, bias=layer.bias is not None,
        )  # fmt: skip


class HardenedKANConv2d(_Hardened):
    """What `SelectableKANConv2d.harden` gives: each output channel with one base.

    Args:
        layer: The trained layer.

    Example:
        >>> layer = SelectableKANConv2d(1, 2, 3, bases=["rbf", "silu"])
        >>> len(layer.harden().parts)
        1
    """

    def __init__(self, layer: SelectableKANConv2d) -> None:
        super().__init__(layer, layer.out_channels)
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels

    def _plain(self, layer: _Selectable, name: str, outputs: int) -> KANConv2d:
        assert isinstance(layer, SelectableKANConv2d)
        return KANConv2d(
            layer.in_channels, outputs, layer.kernel_size, stride=layer.stride,
            padding=layer.padding, basis=basis(name, **_ON_TWO.get(name, {})),
            bias=layer.bias is not None,
        )  # fmt: skip
