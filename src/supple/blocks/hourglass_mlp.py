"""Hourglass MLP: residual blocks with the shortcut at the wide end (arXiv 2510.01796).

A conventional residual MLP has a narrow shortcut and wide hidden layers. Here the shortcut runs at
a wide ``latent`` width and every residual branch goes through a narrow ``bottleneck``:

    z_0 = lift(x),  z_{i+1} = z_i + W2_i act(W1_i norm(z_i)),  y = W_out norm(z_L)

The lift may stay at its random first value; it is then a buffer, is not trained, and is the same
whenever it is built from the same seed.

The paper leaves scale, norm and activation open. Chosen: layer norm before each branch without
weights of its own, GELU, lift entries of variance 1/in (which keeps the scale of a coordinate and,
for a wide lift, distances), and ``W2`` drawn at 1/sqrt(2 L) of a linear layer's usual scale.
"""

# B batch, X in_features, Z latent, H bottleneck, Y out_features

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from supple.blocks._sizes import check_features, check_known, check_positive
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["HourglassBlock", "HourglassMLP", "ResidualMLP"]

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": lambda width: nn.LayerNorm(width, elementwise_affine=False),
    "none": lambda width: nn.Identity(),
}


@implements(9)
class HourglassBlock(nn.Module):
    """``z + W2 act(W1 norm(z))``: one residual branch of any hidden width (arXiv 2510.01796).

    Args:
        width: Width of the shortcut.
        bottleneck: Width inside the branch.
        activation: Builds the activation.
        norm: ``"layer"`` (no weights of its own) or ``"none"``.
        branch_scale: Factor on the first values of the second weight.

    Example:
        >>> block = HourglassBlock(16, 4)
        >>> sum(p.numel() for p in block.parameters())
        128
    """

    def __init__(
        self,
        width: int,
        bottleneck: int,
        *,
        activation: Callable[[], nn.Module] = nn.GELU,
        norm: str = "layer",
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive("HourglassBlock", width=width, bottleneck=bottleneck)
        check_known("HourglassBlock", "norm", norm, _NORMS)
        self.in_features = self.out_features = width
        self.branch_scale = branch_scale
        self.norm = _NORMS[norm](width)
        self.narrow = nn.Linear(width, bottleneck, bias=False)
        self.activation = activation()
        self.widen = nn.Linear(bottleneck, width, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws both weights anew."""
        self.narrow.reset_parameters()
        self.widen.reset_parameters()
        with torch.no_grad():
            self.widen.weight.mul_(self.branch_scale)

    def forward(self, z: Tensor) -> Tensor:
        """Shape (…, width), kept."""
        check_features("HourglassBlock", z, self.in_features)
        update: Tensor = self.widen(self.activation(self.narrow(self.norm(z))))
        return z + update


class _ResidualTower(nn.Module):
    """The blocks and the output map, shared by both shapes."""

    def __init__(
        self, *, out_features: int, width: int, hidden: int, depth: int,
        activation: Callable[[], nn.Module], norm: str,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_positive(name, out_features=out_features, depth=depth)
        self.out_features = out_features
        scale = 1.0 / math.sqrt(2 * depth)
        self.blocks = nn.ModuleList(
            HourglassBlock(width, hidden, activation=activation, norm=norm, branch_scale=scale)
            for _ in range(depth)
        )
        self.norm = _NORMS[norm](width)
        self.head = nn.Linear(width, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draws the weights of the blocks and of the output map anew."""
        for block in self.blocks:
            assert isinstance(block, HourglassBlock)
            block.reset_parameters()
        self.head.reset_parameters()

    def _through(self, z_BZ: Tensor) -> Tensor:
        for block in self.blocks:
            z_BZ = block(z_BZ)
        y_BY: Tensor = self.head(self.norm(z_BZ))
        return y_BY


@implements(9)
class HourglassMLP(_ResidualTower):
    """A residual MLP with a wide shortcut and narrow branches (arXiv 2510.01796).

    It has ``2 depth latent bottleneck + latent out`` trained weights, and ``in latent`` more
    where the lift is trained.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        latent_features: Width of the shortcut; four times ``in_features`` by default.
        bottleneck_features: Width inside the branches; a quarter of the latent by default.
        depth: Number of branches.
        activation: Builds the activation.
        norm: ``"layer"`` or ``"none"``.
        freeze_input: Keep the lift at its first value, as a buffer.
        seed: Of the lift; equal seeds give equal lifts, in every process.

    Example:
        >>> import torch
        >>> net = HourglassMLP(8, 3, latent_features=32, bottleneck_features=4, depth=2)
        >>> net(torch.randn(5, 8)).shape
        torch.Size([5, 3])
        >>> sum(p.numel() for p in net.parameters())
        608
    """

    lift: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        latent_features: int | None = None,
        bottleneck_features: int | None = None,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.GELU,
        norm: str = "layer",
        freeze_input: bool = True,
        seed: int = 0,
    ) -> None:
        check_positive("HourglassMLP", in_features=in_features)
        latent = 4 * in_features if latent_features is None else latent_features
        bottleneck = max(1, latent // 4) if bottleneck_features is None else bottleneck_features
        super().__init__(
            out_features=out_features, width=latent, hidden=bottleneck, depth=depth,
            activation=activation, norm=norm,
        )  # fmt: skip
        if bottleneck >= latent:
            warnings.warn(
                f"bottleneck_features={bottleneck} is not below latent_features={latent}: "
                "this is the conventional shape, not an hourglass.",
                stacklevel=2,
            )
        self.in_features = in_features
        self.latent_features = latent
        self.seed = seed
        lift_ZX = self._first_lift()
        if freeze_input:
            self.register_buffer("lift", lift_ZX)
        else:
            self.lift = nn.Parameter(lift_ZX)

    def _first_lift(self) -> Tensor:
        draws = torch_generator(self.seed, "hourglass lift")
        shape = (self.latent_features, self.in_features)
        return torch.randn(shape, generator=draws, device="cpu") / math.sqrt(self.in_features)

    def reset_parameters(self) -> None:
        """Draws the weights anew; the lift returns to what its seed gives."""
        super().reset_parameters()
        with torch.no_grad():
            self.lift.copy_(self._first_lift())

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("HourglassMLP", x, self.in_features)
        return self._through(nn.functional.linear(x, self.lift))


@implements(9)
class ResidualMLP(_ResidualTower):
    """The conventional twin: the shortcut has the input's width, the branches are wide.

    It has ``2 depth in hidden + in out`` weights.

    Args:
        in_features: Width of the input and of the shortcut.
        out_features: Width of the output.
        hidden_features: Width inside the branches; four times ``in_features`` by default.
        depth: Number of branches.
        activation: Builds the activation.
        norm: ``"layer"`` or ``"none"``.

    Example:
        >>> net = ResidualMLP(8, 3, hidden_features=32, depth=2)
        >>> sum(p.numel() for p in net.parameters())
        1048
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int | None = None,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.GELU,
        norm: str = "layer",
    ) -> None:
        check_positive("ResidualMLP", in_features=in_features)
        hidden = 4 * in_features if hidden_features is None else hidden_features
        super().__init__(
            out_features=out_features, width=in_features, hidden=hidden, depth=depth,
            activation=activation, norm=norm,
        )  # fmt: skip
        self.in_features = in_features

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("ResidualMLP", x, self.in_features)
        return self._through(x)
