"""Hypercomplex layers: weights that are sums of Kronecker products (PHM, PHC; arXiv 2110.04176).

    W = sum_i A_i (x) F_i,   A_i (n, n),   F_i (out/n, in/n, window)

The Kronecker product is over the channels. ``A`` holds the rules of an algebra, learned or given:
with the rules of Hamilton and n = 4 the layer multiplies by quaternions, n = 2 has the complex
numbers. A layer has about 1/n of the parameters of a plain one. The weight is made once for every
call, which costs little beside the product; multiplications do not get fewer.

The first weights have the variance He's rule asks of the plain layer; the released code's product
of two Xavier draws is smaller.
"""

# n order of the algebra; O, I channels over n; a, b row and column of the algebra

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_channels, check_features, check_known, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "ALGEBRAS",
    "PHConv1d",
    "PHConv2d",
    "PHConv3d",
    "PHMLinear",
    "nearest_phm",
    "to_hypercomplex",
]

ALGEBRAS: dict[str, list[list[list[float]]]] = {
    "complex": [[[1, 0], [0, 1]], [[0, -1], [1, 0]]],
    "quaternion": [
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
    ],
    "tessarine": [
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, 1, 0], [0, -1, 0, 0], [1, 0, 0, 0]],
    ],
}
"""Rules of fixed algebras: row a, column b of ``A_i`` is the part a of unit i times unit b."""


class _Hypercomplex(nn.Module):
    """Rules, blocks and bias, for linear layers and convolutions."""

    bias: Tensor | None
    rules: Tensor

    def __init__(
        self, size_in: int, size_out: int, window: tuple[int, ...], n: int, algebra: str, bias: bool
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_positive(name, n=n, size_in=size_in, size_out=size_out)
        check_known(name, "algebra", algebra, {"learned": None, **ALGEBRAS})
        _check_divides(name, n, size_in, size_out)
        if algebra != "learned" and len(ALGEBRAS[algebra]) != n:
            raise BlockError(
                f"{name} got algebra='{algebra}' with n={n}.",
                why=f"It has {len(ALGEBRAS[algebra])} units.",
                hint=f"n={len(ALGEBRAS[algebra])}.",
            )
        self.n, self.algebra = n, algebra
        self.blocks = nn.Parameter(torch.empty(n, size_out // n, size_in // n, *window))
        if algebra == "learned":
            self.rules = nn.Parameter(torch.empty(n, n, n))
        else:
            self.register_buffer("rules", torch.tensor(ALGEBRAS[algebra], dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(size_out)) if bias else None

    def reset_parameters(self) -> None:
        """Draws rules and blocks for a weight of variance 2 / fan_in, and the bias."""
        fan_in = self.blocks[0, 0].numel() * self.n
        if isinstance(self.rules, nn.Parameter):
            nn.init.xavier_uniform_(self.rules)
        # The variance of an entry of W: blocks are drawn alone, rules are what they are.
        squares = self.rules.detach().square().sum()
        power = 1.0 if squares.is_meta else float(squares) / self.n**2
        nn.init.normal_(self.blocks, std=math.sqrt(2 / (fan_in * max(power, 1e-12))))
        if self.bias is not None:
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(self.bias, -bound, bound)

    def materialize(self) -> Tensor:
        """The plain weight (out, in, window)."""
        return _kronecker_sum(self.rules, self.blocks)


def _kronecker_sum(rules: Tensor, blocks: Tensor) -> Tensor:
    """``sum_i A_i (x) F_i`` over the channels: (n, n, n), (n, O, I, …) to (n O, n I, …)."""
    flat = blocks.reshape(*blocks.shape[:3], -1)  # all places of the window in one dimension
    whole = torch.einsum("iab,iocw->aobcw", rules, flat)
    n, out, _, into, _ = whole.shape
    return whole.reshape(n * out, n * into, *blocks.shape[3:])


@implements(62)
class PHMLinear(_Hypercomplex):
    """A linear layer over a hypercomplex algebra (arXiv 2110.04176).

    It has ``n^3 + in out / n`` parameters and a bias; n = 1 is a linear layer times one number.

    Args:
        in_features: Width of the input, a multiple of n.
        out_features: Width of the output, a multiple of n.
        n: Order of the algebra.
        algebra: ``"learned"``, ``"complex"`` (n = 2), ``"quaternion"`` or ``"tessarine"`` (n = 4).
        bias: Add a bias.

    Example:
        >>> layer = PHMLinear(64, 32, n=4)
        >>> sum(p.numel() for p in layer.parameters())
        608
    """

    def __init__(
        self, in_features: int, out_features: int, *, n: int = 4, algebra: str = "learned",
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, (), n, algebra, bias)
        self.in_features, self.out_features = in_features, out_features
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        check_features("PHMLinear", x, self.in_features)
        return F.linear(x, self.materialize(), self.bias)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_features}, {self.out_features}, n={self.n}, algebra={self.algebra}"


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _PHConv(_Hypercomplex):
    """A convolution in one, two or three dimensions."""

    dims = 0

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int | Sequence[int], *, n: int = 4,
        algebra: str = "learned", stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, bias: bool = True,
    ) -> None:  # fmt: skip
        window = (kernel_size,) * self.dims if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(window) != self.dims:
            raise BlockError(
                f"{type(self).__name__} got kernel_size={kernel_size!r}.",
                why=f"It has {self.dims} dimensions.",
                hint="a number, or one for each dimension.",
            )
        super().__init__(in_channels, out_channels, window, n, algebra, bias)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, window
        self.stride = _one_each(stride, self.dims)
        self.padding = _one_each(padding, self.dims)
        self.dilation = _one_each(dilation, self.dims)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, in_channels, …) to (batch, out_channels, …)."""
        check_channels(type(self).__name__, x, self.in_channels, self.dims)
        convolve = _CONVOLUTIONS[self.dims]
        return convolve(x, self.materialize(), self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"n={self.n}, algebra={self.algebra}"
        )


@implements(62)
class PHConv1d(_PHConv):
    """A hypercomplex convolution over one dimension (arXiv 2110.04176); see `PHConv2d`.

    Example:
        >>> PHConv1d(4, 8, 3, n=2).blocks.shape
        torch.Size([2, 4, 2, 3])
    """

    dims = 1


@implements(62)
class PHConv2d(_PHConv):
    """A hypercomplex convolution over two dimensions (arXiv 2110.04176).

    It has ``n^3 + in out window / n`` parameters and a bias.

    Args:
        in_channels: Channels of the input, a multiple of n.
        out_channels: Channels of the output, a multiple of n.
        kernel_size: Window.
        n: Order of the algebra; 3 suits colour images.
        algebra: ``"learned"``, ``"complex"``, ``"quaternion"`` or ``"tessarine"``.
        stride: Step of the window.
        padding: Zeros around the input.
        dilation: Distance of the window's places.
        bias: Add a bias.

    Example:
        >>> layer = PHConv2d(3, 12, 3, n=3, padding=1)
        >>> sum(p.numel() for p in layer.parameters())
        147
    """

    dims = 2


@implements(62)
class PHConv3d(_PHConv):
    """A hypercomplex convolution over three dimensions (arXiv 2110.04176); see `PHConv2d`.

    Example:
        >>> PHConv3d(4, 8, 1, n=2).materialize().shape
        torch.Size([8, 4, 1, 1, 1])
    """

    dims = 3


def _one_each(value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    return (value,) * dims if isinstance(value, int) else tuple(value)


def _check_divides(name: str, n: int, size_in: int, size_out: int) -> None:
    if size_in % n or size_out % n:
        common = math.gcd(size_in, size_out)
        fitting = [d for d in range(1, common + 1) if common % d == 0]
        raise BlockError(
            f"{name} got n={n} for {size_in} inputs and {size_out} outputs.",
            why="Both are split into n parts.",
            hint=f"an n that divides both: {', '.join(map(str, fitting[:12]))}.",
            fitting=fitting,
        )


@implements(62)
def nearest_phm(weight: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Rules and blocks whose Kronecker sum is closest to a weight, in least squares.

    The weight (out, in, …) is rearranged so that every Kronecker product is a matrix of rank one
    (Van Loan and Pitsianis); its best approximation of rank n is the answer.

    Args:
        weight: The weight of a linear layer or convolution.
        n: Order of the algebra, a divisor of both channel counts.

    Returns:
        ``(rules, blocks)`` of shapes (n, n, n) and (n, out/n, in/n, …).

    Raises:
        BlockError: n does not divide the channels.

    Example:
        >>> import torch
        >>> layer = PHMLinear(8, 4, n=2)
        >>> rules, blocks = nearest_phm(layer.materialize().detach(), 2)
        >>> torch.allclose(_kronecker_sum(rules, blocks), layer.materialize(), atol=1e-5)
        True
    """
    out, into = weight.shape[:2]
    _check_divides("nearest_phm", n, into, out)
    rest = weight.shape[2:]
    split = weight.reshape(n, out // n, n, into // n, -1).permute(0, 2, 1, 3, 4)
    left, size, right = torch.linalg.svd(split.reshape(n * n, -1), full_matrices=False)
    rank = min(n, len(size))
    rules = weight.new_zeros(n, n, n)
    blocks = weight.new_zeros(n, out // n, into // n, *rest)
    root = size[:rank].sqrt()
    rules[:rank] = (left[:, :rank] * root).T.reshape(rank, n, n)
    blocks[:rank] = (right[:rank] * root[:, None]).reshape(rank, out // n, into // n, *rest)
    return rules, blocks


_PLAIN: dict[type[nn.Module], type[_PHConv]] = {
    nn.Conv1d: PHConv1d,
    nn.Conv2d: PHConv2d,
    nn.Conv3d: PHConv3d,
}


@implements(62)
def to_hypercomplex(
    model: nn.Module, n: int, *, skip: Sequence[str] = (), fit: bool = True
) -> nn.Module:
    """A copy of a model whose linear layers and convolutions are hypercomplex.

    Layers whose channels n does not divide, grouped and transposed convolutions, and padding by
    anything but zeros are left as they are.

    Args:
        model: Any module.
        n: Order of the algebra.
        skip: Names of modules to leave, with everything inside them.
        fit: Take the nearest hypercomplex weights; otherwise they are drawn anew.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> [type(m).__name__ for m in to_hypercomplex(model, 4)]
        ['PHMLinear', 'ReLU', 'Linear']
    """
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if any(name == s or name.startswith(f"{s}.") for s in skip) or not name:
            continue
        made = _replacement(module, n)
        if made is None:
            continue
        if fit:
            _fit(made, module, n)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, made.to(module.weight).train(module.training))
    return model


def _replacement(module: nn.Module, n: int) -> _Hypercomplex | None:
    if type(module) is nn.Linear and not (module.in_features % n or module.out_features % n):
        has_bias = module.bias is not None
        return PHMLinear(module.in_features, module.out_features, n=n, bias=has_bias)
    kind = _PLAIN.get(type(module))
    if kind is None or not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return None
    is_plain = module.groups == 1 and module.padding_mode == "zeros"
    if not is_plain or isinstance(module.padding, str):
        return None
    if module.in_channels % n or module.out_channels % n:
        return None
    return kind(
        module.in_channels, module.out_channels, module.kernel_size, n=n, stride=module.stride,
        padding=module.padding, dilation=module.dilation, bias=module.bias is not None,
    )  # fmt: skip


def _fit(made: _Hypercomplex, module: nn.Module, n: int) -> None:
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    rules, blocks = nearest_phm(weight.detach(), n)
    with torch.no_grad():
        made.rules.copy_(rules)
        made.blocks.copy_(blocks)
        if made.bias is not None and isinstance(bias, Tensor):
            made.bias.copy_(bias)
