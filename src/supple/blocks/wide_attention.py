"""Wide attention: the same number of heads in few wide layers instead of many narrow ones.

A transformer encoder whose embedding and head size are fixed and whose heads are shared out over
the layers: ``layers x heads = total``. The attention inside a layer is then wider than the
embedding. One layer with all heads has the attention parameters of many layers and far fewer
feed-forward ones, and runs in fewer steps.

Paper 119: Brown, Zhao, Shumailov, Mullins, "Wide Attention Is The Way Forward For Transformers?"
(arXiv 2210.00640).
"""

# B batch, T tokens, D embedding, N heads, H head size

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks._checks import check_features, check_option, check_positive, check_rank
from supple.errors import BlockError
from supple.papers import implements
from supple.space import Space, Swap

__all__ = [
    "WideAttention",
    "WideEncoder",
    "WideEncoderLayer",
    "aspect_ratio_space",
    "aspect_ratios",
]

Attention = Literal["softmax", "linear", "local"]


@implements(119)
class WideAttention(nn.Module):
    """Self-attention whose inner width, heads times head size, is not tied to the embedding.

    Args:
        in_features: Embedding D, in and out.
        num_heads: Heads N.
        head_dim: Size H of a head.
        attention: ``softmax``; ``linear``, with ``elu(q) + 1`` and ``elu(k) + 1`` as feature maps
            and no look at pairs; ``local``, softmax over the neighbours within ``window``.
        window: How far a token sees to either side, for ``local``.

    Example:
        >>> block = WideAttention(in_features=8, num_heads=12, head_dim=4)
        >>> block(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        *,
        in_features: int,
        num_heads: int,
        head_dim: int,
        attention: Attention = "softmax",
        window: int = 8,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(
            self, in_features=in_features, num_heads=num_heads, head_dim=head_dim, window=window
        )
        check_option(self, "attention", attention, get_args(Attention))
        self.in_features = self.out_features = in_features
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.attention = attention
        self.window = window
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        inner = num_heads * head_dim
        self.query = nn.Linear(in_features, inner, **made)
        self.key = nn.Linear(in_features, inner, **made)
        self.value = nn.Linear(in_features, inner, **made)
        self.out = nn.Linear(inner, in_features, **made)

    def reset_parameters(self) -> None:
        """Those of its linear layers."""
        for layer in (self.query, self.key, self.value, self.out):
            layer.reset_parameters()

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to the same shape."""
        check_rank(self, x_BTD, exactly=3)
        check_features(self, x_BTD, self.in_features)
        heads = (self.num_heads, self.head_dim)
        q, k, v = (
            torch.unflatten(layer(x_BTD), -1, heads).transpose(1, 2)  # (B, N, T, H)
            for layer in (self.query, self.key, self.value)
        )
        if self.attention == "linear":
            q, k = F.elu(q) + 1, F.elu(k) + 1
            y = q @ (k.mT @ v) / (q @ k.sum(2).unsqueeze(-1))
        else:
            mask = self._neighbours(x_BTD) if self.attention == "local" else None
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y_BTD: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return y_BTD

    def _neighbours(self, x_BTD: Tensor) -> Tensor:
        place = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        return (place[:, None] - place[None, :]).abs() <= self.window

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"{self.in_features}, heads={self.num_heads}, head_dim={self.head_dim}"


@implements(119)
class WideEncoderLayer(nn.Module):
    """Attention and a feed-forward network, each with a residual connection and layer norm.

    As ``nn.TransformerEncoderLayer`` with the norms after the additions, which it equals when
    heads times head size is the embedding.

    Args:
        in_features: Embedding D.
        num_heads: Heads of this layer.
        head_dim: Size of a head.
        hidden_features: Width of the feed-forward network.
        attention: Kind of attention.

    Example:
        >>> block = WideEncoderLayer(in_features=8, num_heads=12, head_dim=4, hidden_features=16)
        >>> block(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        *,
        in_features: int,
        num_heads: int,
        head_dim: int,
        hidden_features: int,
        attention: Attention = "softmax",
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive(self, hidden_features=hidden_features)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.in_features = self.out_features = in_features
        self.attention = WideAttention(
            in_features=in_features,
            num_heads=num_heads,
            head_dim=head_dim,
            attention=attention,
            **made,
        )
        self.norm1 = nn.LayerNorm(in_features, **made)
        self.linear1 = nn.Linear(in_features, hidden_features, **made)
        self.linear2 = nn.Linear(hidden_features, in_features, **made)
        self.norm2 = nn.LayerNorm(in_features, **made)

    def reset_parameters(self) -> None:
        """Those of all its layers."""
        for layer in (self.attention, self.norm1, self.linear1, self.linear2, self.norm2):
            layer.reset_parameters()

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to the same shape."""
        x = self.norm1(x_BTD + self.attention(x_BTD))
        y: Tensor = self.norm2(x + self.linear2(torch.relu(self.linear1(x))))
        return y


@implements(119)
class WideEncoder(nn.Module):
    """A classifier of token sequences with its heads in ``layers`` layers.

    Args:
        vocabulary: Number of tokens.
        in_features: Embedding D.
        layers: Layers.
        num_heads: Heads of each layer.
        head_dim: Size of a head, the same however many heads there are.
        hidden_features: Width of the feed-forward network of each layer.
        num_classes: Classes.
        max_length: Longest sequence.
        attention: Kind of attention.

    Example:
        >>> net = WideEncoder(
        ...     vocabulary=16, in_features=8, layers=1, num_heads=6, head_dim=4,
        ...     hidden_features=16, num_classes=10, max_length=32,
        ... )
        >>> net(torch.zeros(2, 20, dtype=torch.long)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        in_features: int,
        layers: int,
        num_heads: int,
        head_dim: int,
        hidden_features: int,
        num_classes: int,
        max_length: int,
        attention: Attention = "softmax",
    ) -> None:
        super().__init__()
        check_positive(self, vocabulary=vocabulary, layers=layers, max_length=max_length)
        self.out_features = num_classes
        self.max_length = max_length
        self.embed = nn.Embedding(vocabulary, in_features)
        self.place = nn.Parameter(torch.empty(max_length, in_features))
        self.layers = nn.Sequential(
            *(
                WideEncoderLayer(
                    in_features=in_features,
                    num_heads=num_heads,
                    head_dim=head_dim,
                    hidden_features=hidden_features,
                    attention=attention,
                )
                for _ in range(layers)
            )
        )
        self.head = nn.Linear(in_features, num_classes)
        nn.init.normal_(self.place, std=0.02)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Token numbers (B, T) to logits (B, classes)."""
        check_rank(self, tokens_BT, exactly=2)
        length = tokens_BT.shape[1]
        if length > self.max_length:
            raise BlockError(
                f"WideEncoder got a sequence of {length} tokens, shape {tuple(tokens_BT.shape)}.",
                why=f"It has places for {self.max_length}.",
                hint=f"cut the sequence, or build it with max_length={length}.",
                shape=tuple(tokens_BT.shape),
            )
        x = self.embed(tokens_BT) + self.place[:length]
        logits: Tensor = self.head(self.layers(x).mean(1))
        return logits


def aspect_ratios(total_heads: int) -> list[tuple[int, int]]:
    """All ways to share heads out evenly, as (layers, heads of a layer), the deepest first.

    Raises:
        BlockError: There is no head.

    Example:
        >>> aspect_ratios(6)
        [(6, 1), (3, 2), (2, 3), (1, 6)]
    """
    if total_heads < 1:
        raise BlockError(
            f"aspect_ratios got total_heads={total_heads}.",
            why="There must be a head to share out.",
            hint="total_heads=12 can be shared out in six ways.",
        )
    return [
        (layers, total_heads // layers)
        for layers in range(total_heads, 0, -1)
        if total_heads % layers == 0
    ]


@implements(119)
def aspect_ratio_space(total_heads: int, *, max_layers: int | None = None) -> Space:
    """The aspect ratio as a choice of one space: ``"6x2"`` is six layers of two heads.

    Example:
        >>> aspect_ratio_space(12, max_layers=6)["aspect"].options
        ('6x2', '4x3', '3x4', '2x6', '1x12')
    """
    ratios = [r for r in aspect_ratios(total_heads) if max_layers is None or r[0] <= max_layers]
    return Space({"aspect": Swap(options=tuple(f"{layers}x{heads}" for layers, heads in ratios))})
