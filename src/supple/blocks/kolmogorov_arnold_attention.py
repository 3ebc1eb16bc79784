"""Kolmogorov-Arnold attention: a learned operator in the place of softmax (arXiv 2503.10632).

Every row ``a`` of the score matrix goes through functions of one variable and a linear map:

    row -> W Phi(row),   Phi_p(a) = sum_q phi_pq(a_q),   p = 1..rank

With the Fourier base, ``phi_pq(u) = sum_m a_pqm cos(m u) + b_pqm sin(m u)``. The operator is made
for one length of sequences. Its rows need not be positive nor sum to one; ``simplex=True`` projects
them, which lowered accuracy in the paper.

The paper leaves the first weights open: coefficients are drawn from N(0, 1/(N G)), W by Xavier.
"""

# B batch, H heads, N tokens (of the query), K tokens (of the key), R rank, M functions of the base

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._sizes import check_known, check_positive
from supple.blocks.kan.bases import basis as base_of
from supple.errors import BlockError
from supple.papers import implements

__all__ = ["KolmogorovArnoldAttention", "KolmogorovArnoldOperator", "simplex_projection"]

_IDENTITY: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "identity": lambda u: u,
    "silu": F.silu,
    "gelu": F.gelu,
}


def simplex_projection(y: Tensor, dim: int = -1) -> Tensor:
    """The nearest point whose entries along a dimension are not negative and sum to one.

    Also known as sparsemax.

    Args:
        y: Any tensor.
        dim: The dimension of the simplex.

    Example:
        >>> import torch
        >>> simplex_projection(torch.tensor([2.0, 1.5, -1.0])).tolist()
        [0.75, 0.25, 0.0]
    """
    ordered = y.sort(dim=dim, descending=True).values
    shape = [1] * y.dim()
    shape[dim] = y.shape[dim]
    counts = torch.arange(1, y.shape[dim] + 1, dtype=y.dtype, device=y.device).view(shape)
    excess = ordered.cumsum(dim) - 1
    support = (ordered > excess / counts).sum(dim, keepdim=True)
    level = excess.gather(dim, support - 1) / support
    return (y - level).clamp_min(0)


@implements(38)
class KolmogorovArnoldOperator(nn.Module):
    """What takes the place of softmax: one low-rank operator for each head (arXiv 2503.10632).

    It has ``heads seq_len rank (size of the base + 1)`` parameters: ``2 N r G h + N r h`` with
    Fourier functions. One operator may serve several attention layers (the paper's universal mode).

    Args:
        num_heads: Heads.
        seq_len: Tokens.
        basis: Name of the base; see `supple.blocks.kan.bases`.
        grid_size: Frequencies, or the grid of another base; None takes the base's own default.
        rank: Functions of a row before the linear map.
        base: Added to every function: ``"none"``, ``"identity"``, ``"silu"`` or ``"gelu"``.
        simplex: Project rows onto the probabilities.

    Example:
        >>> operator = KolmogorovArnoldOperator(num_heads=2, seq_len=5, rank=3)
        >>> sum(p.numel() for p in operator.parameters())
        210
    """

    def __init__(
        self, *, num_heads: int, seq_len: int, basis: str = "fourier",
        grid_size: int | None = 3, rank: int = 12, base: str = "none", simplex: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        name = "KolmogorovArnoldOperator"
        check_positive(name, num_heads=num_heads, seq_len=seq_len, rank=rank)
        check_known(name, "base", base, _IDENTITY)
        settings = {"grid": grid_size} if grid_size is not None else {}
        self.basis = base_of(basis, **settings)
        self.num_heads, self.seq_len, self.rank = num_heads, seq_len, rank
        self.base, self.simplex = base, simplex
        self.coefficients = nn.Parameter(torch.empty(num_heads, rank, seq_len, self.basis.size))
        self.weight = nn.Parameter(torch.empty(num_heads, seq_len, rank))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws coefficients and weights anew."""
        self.basis.reset_parameters()
        functions = max(self.basis.size // 2, 1)
        nn.init.normal_(self.coefficients, std=1 / math.sqrt(self.seq_len * functions))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (self.seq_len + self.rank)))

    def forward(self, scores: Tensor) -> Tensor:
        """Shape (batch, heads, queries, seq_len), kept."""
        phi_BHNR = torch.einsum("bhnkm,hrkm->bhnr", self.basis(scores), self.coefficients)
        extra = _IDENTITY[self.base]
        if extra is not None:
            phi_BHNR = phi_BHNR + extra(scores).sum(-1, keepdim=True)
        rows_BHNK = torch.einsum("bhnr,hkr->bhnk", phi_BHNR, self.weight)
        return simplex_projection(rows_BHNK) if self.simplex else rows_BHNK


@implements(38)
class KolmogorovArnoldAttention(nn.Module):
    """Self-attention with a learned operator instead of softmax (arXiv 2503.10632).

    Args:
        embed_dim: Width of a token.
        num_heads: Heads; divides ``embed_dim``.
        seq_len: Tokens of every sequence, class token included.
        basis: Name of the base of functions.
        grid_size: Frequencies, or the grid of another base.
        rank: Functions of a row before the linear map.
        base: Added to every function: ``"none"``, ``"identity"``, ``"silu"`` or ``"gelu"``.
        simplex: Project rows onto the probabilities.
        shared: An operator that serves several layers. It belongs to whoever made it: register it
            once, beside the layers, and it is stored and trained once.
        bias: Biases of the four linear maps.

    Raises:
        BlockError: The heads do not divide the width, or the shared operator has other sizes.

    Example:
        >>> import torch
        >>> attention = KolmogorovArnoldAttention(12, 3, seq_len=5, rank=4)
        >>> attention(torch.randn(2, 5, 12)).shape
        torch.Size([2, 5, 12])
    """

    def __init__(
        self, embed_dim: int, num_heads: int, seq_len: int, *, basis: str = "fourier",
        grid_size: int | None = 3, rank: int = 12, base: str = "none", simplex: bool = False,
        shared: KolmogorovArnoldOperator | None = None, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        check_positive(
            "KolmogorovArnoldAttention", embed_dim=embed_dim, num_heads=num_heads, seq_len=seq_len
        )
        _check_heads(embed_dim, num_heads, seq_len, shared)
        self.in_features = self.out_features = embed_dim
        self.num_heads, self.seq_len = num_heads, seq_len
        self.query = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.key = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.value = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.own = (
            KolmogorovArnoldOperator(
                num_heads=num_heads, seq_len=seq_len, basis=basis, grid_size=grid_size,
                rank=rank, base=base, simplex=simplex,
            ) if shared is None else None
        )  # fmt: skip
        # In a tuple it is not a child: state_dict and parameters see it at its owner only.
        self._shared = (shared,)

    @property
    def operator(self) -> KolmogorovArnoldOperator:
        """The operator, own or shared."""
        found = self.own if self.own is not None else self._shared[0]
        assert found is not None
        return found

    def reset_parameters(self) -> None:
        """Draws the linear maps anew, and the operator where it is this layer's own."""
        for part in (self.query, self.key, self.value, self.out):
            part.reset_parameters()
        if self.own is not None:
            self.own.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, seq_len, embed_dim), kept."""
        if x.dim() != 3 or x.shape[1] != self.seq_len or x.shape[2] != self.in_features:
            raise BlockError(
                "KolmogorovArnoldAttention takes inputs of shape "
                f"(batch, {self.seq_len}, {self.in_features}), got {tuple(x.shape)}.",
                why="Its operator has a weight for every position.",
                hint="pad or cut sequences to its length, or build it with another seq_len.",
                shape=tuple(x.shape),
            )
        query, key, value = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        scale = 1 / math.sqrt(self.in_features // self.num_heads)
        rows = self.operator(query @ key.transpose(-1, -2) * scale)
        mixed: Tensor = self.out((rows @ value).transpose(1, 2).flatten(2))
        return mixed

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], self.seq_len, self.num_heads, -1).transpose(1, 2)


def _check_heads(
    embed_dim: int, num_heads: int, seq_len: int, shared: KolmogorovArnoldOperator | None
) -> None:
    if embed_dim % num_heads:
        raise BlockError(
            f"KolmogorovArnoldAttention got embed_dim={embed_dim} for {num_heads} heads.",
            why="Every head has the same width.",
            hint=f"embed_dim={embed_dim - embed_dim % num_heads}.",
        )
    if shared is not None and (shared.num_heads, shared.seq_len) != (num_heads, seq_len):
        raise BlockError(
            f"The shared operator has {shared.num_heads} heads and {shared.seq_len} tokens, "
            f"the layer {num_heads} and {seq_len}.",
            why="One operator serves layers of the same sizes.",
            hint="build the operator with the sizes of the layers.",
        )
