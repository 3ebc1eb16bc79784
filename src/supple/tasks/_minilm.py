"""MiniLM, the small sentence encoder (W. Wang et al., 2002.10957), with a classifier on top.

The encoder is BERT's (J. Devlin et al., 1810.04805) with six layers of width 384; modules are
named as the `transformers` library names them, so the published weights load without renaming.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MiniLMClassifier"]

# B batch, L length, D width, H heads
_EPSILON = 1e-12
_DROPOUT = 0.1


class MiniLMClassifier(nn.Module):
    """Word pieces to class scores: embeddings, encoder layers, mean over the words, linear map.

    Args:
        classes: Number of classes.
        vocabulary: Number of word pieces.
        positions: Longest sentence in word pieces.
        width: Size of a word's vector.
        heads: Attention heads, each ``width / heads`` wide.
        hidden: Width inside the feed-forward part.
        layers: Encoder layers.
    """

    def __init__(
        self,
        *,
        classes: int = 2,
        vocabulary: int = 30522,
        positions: int = 512,
        width: int = 384,
        heads: int = 12,
        hidden: int = 1536,
        layers: int = 6,
    ) -> None:
        super().__init__()
        self.embeddings = _Embeddings(vocabulary, positions, width)
        self.encoder = _Encoder(width, heads, hidden, layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The scores of the classes.

        Args:
            input_ids: Word pieces (B, L).
            attention_mask: 1 where a word is, 0 where the sentence is filled up (B, L).
        """
        x_BLD = self.embeddings(input_ids)
        # -inf would give NaN for a sentence without any word.
        bias = (1.0 - attention_mask[:, None, None].to(x_BLD.dtype)) * -1e4
        x_BLD = self.encoder(x_BLD, bias)
        words = attention_mask[..., None].to(x_BLD.dtype)
        mean_BD = (x_BLD * words).sum(1) / words.sum(1).clamp(min=1.0)
        scores: Tensor = self.classifier(mean_BD)
        return scores


class _Embeddings(nn.Module):
    """Word, position and (always the first) segment."""

    def __init__(self, vocabulary: int, positions: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=_EPSILON)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.dropout(self.LayerNorm(x + self.position_embeddings(places)))
        return embedded


class _Layer(nn.Module):
    """Attention and feed-forward part, each added to its input and normalised."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = _AttentionPart(width, heads)
        self.intermediate = _Intermediate(width, hidden)
        self.output = _Output(hidden, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention(x, bias)
        result: Tensor = self.output(self.intermediate(x), x)
        return result


class _AttentionPart(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self = _Attention(width, heads)
        self.output = _Output(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        result: Tensor = self.output(self.self(x, bias), x)
        return result


class _Intermediate(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class _Encoder(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(width, heads, hidden) for _ in range(layers))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class _Attention(nn.Module):
    """Scaled dot products of queries and keys weigh the values; no dropout on the weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (self._split(part(x_BLD)) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, x_BLD: Tensor) -> Tensor:
        """To (B, H, L, D / H)."""
        batch, length, width = x_BLD.shape
        return x_BLD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class _Output(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(before, width)
        self.LayerNorm = nn.LayerNorm(width, eps=_EPSILON)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        result: Tensor = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return result
