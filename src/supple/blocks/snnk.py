"""Scalable neural network kernels: a layer as a dot product of features of inputs and of weights.

``f(w . x + b)`` is written as ``<Psi(w, b), Phi(x)>`` with m random features on each side. Inputs
and weights then meet only in that product: the weights are stored as ``Psi`` (m numbers for each
output instead of d), two layers merge into one matrix ("bundling"), and the last stage of a
bundled network has a solution in closed form.

The ReLU form is not an approximation of ``relu(w . x)``: its kernel is the arc-cosine kernel of
first order, ``|x| |w| (sin t + (pi - t) cos t) / (2 pi)`` for the angle t between x and w, a
trainable family of its own.

Paper 45: Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov, "Scalable Neural Network Kernels"
(arXiv 2310.13225).
"""

# B batch, D input features, M random features, O outputs

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_features, check_option, check_positive
from supple.errors import BlockError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = [
    "FullyBundled",
    "SNNKAdapter",
    "SNNKLinear",
    "arc_cosine_kernel",
    "bundle",
    "random_directions",
    "ridge_solution",
]

Kernel = Literal["relu", "cos", "sin", "linear"]


def random_directions(
    count: int, size: int, *, is_orthogonal: bool = True, generator: torch.Generator
) -> Tensor:
    """Gaussian rows (count, size), float64; orthogonal within each block of ``size`` rows.

    Orthogonal rows keep the lengths of Gaussian ones, so every row alone is Gaussian still, and
    together they vary less.

    Example:
        >>> g = random_directions(3, 4, generator=torch.Generator().manual_seed(0))
        >>> bool(((g @ g.T).fill_diagonal_(0).abs() < 1e-9).all())
        True
    """

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    if not is_orthogonal:
        return drawn(count, size)
    rows: list[Tensor] = []
    for start in range(0, count, size):
        q, r = torch.linalg.qr(drawn(size, size))
        square = q * r.diagonal().sign()  # else the signs would not be even
        lengths = drawn(size, size).norm(dim=1, keepdim=True)
        rows.append((square * lengths)[: count - start])
    return torch.cat(rows)


def arc_cosine_kernel(x: Tensor, w: Tensor) -> Tensor:
    """What the ReLU form converges to for many features: (…, D) and (O, D) to (…, O).

    Example:
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> arc_cosine_kernel(x, x).item()  # the angle is zero: |x|**2 / 2
        12.5
    """
    lengths = x.norm(dim=-1, keepdim=True) * w.norm(dim=-1)
    cos = (F.linear(x, w) / lengths.clamp_min(1e-30)).clamp(-1, 1)
    angle = torch.arccos(cos)
    turned: Tensor = torch.sin(angle) + (math.pi - angle) * cos
    kernel: Tensor = lengths * turned / (2 * math.pi)
    return kernel


@implements(45)
class SNNKLinear(nn.Module):
    """A linear layer with its activation, as random features times trained ``Psi``.

    - ``relu``: ``Phi(x) = relu(G x) / sqrt(M)``.
    - ``cos``, ``sin``: unbiased features of ``cos(w . x + b)`` and ``sin(w . x + b)``, by the
      Fourier form of the paper with ``c = i``; M complex features are 2M real ones. Their
      variance grows like ``exp(|x|**2 + |w|**2)``: inputs should be normalised.
    - ``linear``: ``Phi(x) = x``, so that bundling is exact.

    A bias is one more input that is always one. The directions G are a buffer drawn from
    ``seed``; a sub-network with fewer features is scaled by its own number of features.

    Args:
        in_features: Inputs D.
        out_features: Outputs O.
        num_features: Random features M.
        kernel: Which form.
        bias: Whether the weights have a bias.
        is_orthogonal: Whether the directions are orthogonal.
        seed: Where the directions come from.

    Raises:
        BlockError: A setting out of range, or an input of another size.

    Example:
        >>> block = SNNKLinear(in_features=6, out_features=3, num_features=16)
        >>> block(torch.randn(2, 6)).shape
        torch.Size([2, 3])
    """

    directions: Tensor

    def __init__(
        self,
        *,
        in_features: int,
        out_features: int,
        num_features: int,
        kernel: Kernel = "relu",
        bias: bool = True,
        is_orthogonal: bool = True,
        seed: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            self, in_features=in_features, out_features=out_features, num_features=num_features
        )
        check_option(self, "kernel", kernel, get_args(Kernel))
        self.in_features = in_features
        self.out_features = out_features
        self.kernel = kernel
        self.bias = bias
        inputs = in_features + bias
        self.num_features = num_features = inputs if kernel == "linear" else num_features
        like = torch.empty(0, device=device, dtype=dtype)
        if kernel == "linear":
            drawn = torch.eye(inputs)
        else:
            # The phase of a Fourier form is exact: only x and w meet in random directions.
            size = inputs if kernel == "relu" else in_features
            drawn = random_directions(
                num_features,
                size,
                is_orthogonal=is_orthogonal,
                generator=torch_generator(seed, "snnk directions"),
            )
        self.register_buffer("directions", drawn.to(like))
        is_complex = kernel in ("cos", "sin")
        self.psi = nn.Parameter(
            torch.empty((out_features, num_features * (1 + is_complex)), device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """``Psi`` of a linear layer with torch's own initial weights."""
        bound = 1 / math.sqrt(self.in_features)
        weight = torch.empty((self.out_features, self.in_features), dtype=torch.float64)
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        shift = torch.empty(self.out_features, dtype=torch.float64)
        nn.init.uniform_(shift, -bound, bound, generator=generator)
        self.set_weights(weight, shift if self.bias else None)

    @torch.no_grad()
    def set_weights(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Takes ``Psi`` of weights (O, D) and a bias (O)."""
        like = self.directions
        weight = weight.to(like)
        shift = torch.zeros_like(weight[:, 0]) if bias is None else bias.to(like)
        if self.kernel in ("relu", "linear"):
            if self.bias:
                weight = torch.cat((weight, shift.unsqueeze(1)), 1)
            self.psi.copy_(weight if self.kernel == "linear" else self._features(weight))
            return
        # Re(Phi Psi) = Re Phi Re Psi - Im Phi Im Psi; sin(z) is cos(z - pi/2).
        size, angle = self._polar(weight)
        angle = angle + (shift - (math.pi / 2 if self.kernel == "sin" else 0)).unsqueeze(1)
        self.psi.copy_(torch.cat((size * torch.cos(angle), -size * torch.sin(angle)), 1))

    def _polar(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Size and angle of the complex features ``exp(sqrt(i) g.x - i |x|**2 / 2)``."""
        half = F.linear(x, self.directions) / math.sqrt(2)  # sqrt(i) = (1 + i) / sqrt(2)
        return half.exp() * self._scale(), half - x.square().sum(-1, keepdim=True) / 2

    def _scale(self) -> Tensor:
        """``1 / sqrt(M)`` for as many features as there are."""
        # One for each row, so that a sub-network counts the rows that it has.
        return torch.ones_like(self.directions).mean(1).sum().rsqrt()

    def _features(self, x: Tensor) -> Tensor:
        """``Phi``, the bias's one already among the inputs of the ReLU form."""
        return torch.relu(F.linear(x, self.directions)) * self._scale()

    def features(self, x: Tensor) -> Tensor:
        """``Phi(x)``: (…, D) to (…, M), or to (…, 2M) for the Fourier forms."""
        check_features(self, x, self.in_features)
        if self.kernel in ("cos", "sin"):
            size, angle = self._polar(x)
            return torch.cat((size * torch.cos(angle), size * torch.sin(angle)), -1)
        if self.bias:
            x = F.pad(x, (0, 1), value=1.0)
        return x if self.kernel == "linear" else self._features(x)

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, O)."""
        return F.linear(self.features(x), self.psi)

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor, *, ridge: float = 1e-6) -> float:
        """Solves for ``Psi`` in closed form; returns the relative error on these samples.

        Args:
            x: Inputs (…, D).
            y: What the layer should give for them, (…, O).
            ridge: Weight of the squared size of ``Psi``, relative to that of the features.
        """
        phi = self.features(x).reshape(-1, self.psi.shape[1])
        target = y.reshape(-1, self.out_features)
        weight = ridge * float(phi.square().sum(0).mean())
        self.psi.copy_(ridge_solution(phi, target, weight).T)
        return float((F.linear(phi, self.psi) - target).norm() / target.norm().clamp_min(1e-30))

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, *, num_features: int, kernel: Kernel = "relu", **settings: Any
    ) -> SNNKLinear:
        """The layer with ``Psi`` of the weights and the bias of a linear layer."""
        made = cls(
            in_features=linear.in_features,
            out_features=linear.out_features,
            num_features=num_features,
            kernel=kernel,
            bias=linear.bias is not None,
            device=linear.weight.device,
            dtype=linear.weight.dtype,
            **settings,
        )
        made.set_weights(linear.weight, linear.bias)
        return made.train(linear.training)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"num_features={self.num_features}, kernel={self.kernel!r}, bias={self.bias}"
        )


def ridge_solution(phi: Tensor, y: Tensor, weight: float) -> Tensor:
    """``(Phi^T Phi + weight I)^-1 Phi^T Y``, solved in float64.

    Example:
        >>> x = torch.eye(2)
        >>> ridge_solution(x, x, 1.0)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    wide, target = phi.double(), y.double()
    gram = wide.T @ wide + weight * torch.eye(wide.shape[1], device=wide.device, dtype=wide.dtype)
    solution: Tensor = torch.linalg.solve(gram, wide.T @ target)
    return solution.to(y.dtype)


@implements(45)
def bundle(
    layers: nn.Sequential,
    *,
    start: int,
    num_features: int,
    kernel: Kernel = "relu",
    inputs: Tensor | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Merges ``Linear, activation, Linear`` into one layer of random features.

    ``W2 f(W1 x) + b2`` becomes ``(W2 Psi1^T) Phi1(x)``: one matrix of O by M instead of two.
    Without ``inputs``, ``Psi1`` is that of the weights, which is the network's own function for
    ``cos``, ``sin`` and ``linear`` (up to the number of features) and another one for ``relu``;
    with them the matrix is solved for what the layers give.

    Args:
        layers: The network; it is not changed.
        start: Where the three layers begin.
        num_features: Random features M.
        kernel: Which form; ``"linear"`` for an ``nn.Identity`` in the middle.
        inputs: Inputs of the whole network to fit on.
        seed: Where the directions come from.

    Raises:
        BlockError: There are no such three layers at ``start``.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 50), nn.Identity(), nn.Linear(50, 3))
        >>> small = bundle(net, start=0, num_features=1, kernel="linear")
        >>> sum(p.numel() for p in small.parameters())
        18
    """
    three = list(layers)[start : start + 3]
    first, last = (three[0], three[2]) if len(three) == 3 else (None, None)
    if not isinstance(first, nn.Linear) or not isinstance(last, nn.Linear):
        raise BlockError(
            f"bundle was asked for layers {start} to {start + 2}: "
            f"{', '.join(type(m).__name__ for m in three) or 'none'}.",
            why="It merges a linear layer, an activation and a linear layer.",
            hint="pass the position of the first of the two linear layers.",
        )
    inner = SNNKLinear.from_linear(first, num_features=num_features, kernel=kernel, seed=seed)
    merged = _with_outputs(inner, last.out_features)
    with torch.no_grad():
        merged.psi.copy_(last.weight @ inner.psi)
    shift = _Shift(last.bias.detach().clone()) if last.bias is not None else None
    if inputs is not None:
        with torch.no_grad():
            x = layers[:start](inputs)
            y = nn.Sequential(*three)(x)
            merged.fit(x, y if shift is None else y - shift.bias)
    middle = [merged] if shift is None else [merged, shift]
    return nn.Sequential(*list(layers)[:start], *middle, *list(layers)[start + 3 :])


def _with_outputs(layer: SNNKLinear, out_features: int) -> SNNKLinear:
    """A layer with the same features and room for other outputs."""
    made = SNNKLinear(
        in_features=layer.in_features,
        out_features=out_features,
        num_features=layer.num_features,
        kernel=layer.kernel,
        bias=layer.bias,
        device=layer.psi.device,
        dtype=layer.psi.dtype,
    )
    made.directions.copy_(layer.directions)
    return made.train(layer.training)


class _Shift(nn.Module):
    """Adds a bias."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


@implements(45)
class FullyBundled(nn.Module):
    """``<theta, Phi_L(… Phi_1(x))>``: random ReLU features of features, and one trained matrix.

    Args:
        in_features: Inputs D.
        out_features: Outputs O.
        num_features: Random features of each level.
        seed: Where the directions come from.

    Example:
        >>> block = FullyBundled(in_features=6, out_features=3, num_features=(32, 16))
        >>> x, y = torch.randn(50, 6), torch.randn(50, 3)
        >>> block.fit_ridge(x, y, ridge=1.0)(x).shape
        torch.Size([50, 3])
    """

    def __init__(
        self,
        *,
        in_features: int,
        out_features: int,
        num_features: Sequence[int],
        seed: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.levels = nn.ModuleList()
        size = in_features
        for level, count in enumerate(num_features):
            layer = SNNKLinear(
                in_features=size,
                out_features=1,
                num_features=count,
                seed=seed + level,
                device=device,
                dtype=dtype,
            )
            layer.register_parameter("psi", None)  # only its features are used
            self.levels.append(layer)
            size = count
        self.theta = nn.Parameter(torch.empty((out_features, size), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """``theta`` as the weights of a linear layer."""
        bound = 1 / math.sqrt(self.theta.shape[1])
        nn.init.uniform_(self.theta, -bound, bound, generator=generator)

    def features(self, x: Tensor) -> Tensor:
        """``Phi_L(… Phi_1(x))``."""
        check_features(self, x, self.in_features)
        for level in self.levels:
            x = level.features(x)  # type: ignore[operator]
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, O)."""
        return F.linear(self.features(x), self.theta)

    @torch.no_grad()
    def fit_ridge(self, x: Tensor, y: Tensor, *, ridge: float) -> FullyBundled:
        """Solves for ``theta`` in closed form: the least squared error plus ``ridge`` its size."""
        self.theta.copy_(ridge_solution(self.features(x), y, ridge).T)
        return self


@implements(45)
class SNNKAdapter(nn.Module):
    """A residual adapter ``x + SNNK(x)`` that starts as the identity.

    Args:
        d_model: Features in and out.
        num_features: Random features; there are ``d_model * num_features`` parameters.
        kernel: Which form.
        seed: Where the directions come from.

    Example:
        >>> x = torch.randn(2, 8)
        >>> bool((SNNKAdapter(d_model=8, num_features=4)(x) == x).all())
        True
    """

    def __init__(
        self,
        *,
        d_model: int,
        num_features: int,
        kernel: Kernel = "relu",
        seed: int = 0,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = self.out_features = d_model
        self.layer = SNNKLinear(
            in_features=d_model,
            out_features=d_model,
            num_features=num_features,
            kernel=kernel,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Nothing is added at first."""
        nn.init.zeros_(self.layer.psi)

    def forward(self, x: Tensor) -> Tensor:
        """(…, d_model) to the same shape."""
        y: Tensor = x + self.layer(x)
        return y
