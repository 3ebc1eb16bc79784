"""KArAt (paper 38, 2503.10632): a learned operator instead of softmax in small transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from supple.blocks.kolmogorov_arnold_attention import KolmogorovArnoldAttention
from supple.claims import (
    Arms,
    Rule,
    accuracy,
    best_lr,
    claim,
    digits,
    fit,
    parameters,
    seeded,
)

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Size and length of the training.

    Attributes:
        depth: Blocks.
        width: Width of a token.
        epochs: Passes over the training part.
    """

    depth: int = 4
    width: int = 48
    epochs: int = 30


@claim(
    paper=38,
    says="In tiny vision transformers, learned Fourier attention is more accurate than softmax.",
    reported="ViT-Tiny on CIFAR-10 72.8 to 76.7 % and CIFAR-100 43.5 to 46.8 %; on ImageNet and "
    "in larger models it is equal or worse.",
    here="A tiny transformer on 1,200 digits of 8x8 pixels: 16 patches of 2x2 and a class token, "
    "both arms at their own best learning rate. Fixed length and few tokens are the paper's "
    "favourable case; the effect may not show on so easy a task.",
    rules=(
        Rule(metric="accuracy", method="fourier", baseline="softmax", margin=0.005),
        Rule(metric="seconds per epoch", method="softmax", baseline="fourier", better="lower",
             scale="ratio"),
    ),
    quick=Settings(depth=2, width=24, epochs=6),
    full=Settings(),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Both kinds of attention in the same network."""
    data = digits(seed, images=True)
    arms: dict[str, dict[str, float]] = {}
    for arm, attention in ATTENTIONS.items():

        def build(attention: Attention = attention) -> nn.Module:
            return _ViT(attention, settings.width, settings.depth)

        lr = best_lr(build, data, _LRS, seed=seed, epochs=settings.epochs / 3)
        with seeded(seed, "weights"):
            model = build()
        seconds = fit(model, data, epochs=settings.epochs, lr=lr, seed=seed, grad_clip=1.0).seconds
        arms[arm] = {
            "accuracy": accuracy(model, data),
            "parameters": float(parameters(model)),
            "seconds per epoch": seconds / settings.epochs,
        }
    return arms


Attention = Callable[[int], nn.Module]
_LRS = (2e-3, 6e-3)
_HEADS, _TOKENS = 3, 17


class _Softmax(nn.Module):
    """The attention the other one is compared with; the same four linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        heads = [
            part(x).unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        ]
        mixed: Tensor = self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return mixed


ATTENTIONS: dict[str, Attention] = {
    "fourier": lambda width: KolmogorovArnoldAttention(width, _HEADS, _TOKENS, grid_size=3),
    "softmax": _Softmax,
}


class _Block(nn.Module):
    def __init__(self, attention: nn.Module, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), attention
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class _ViT(nn.Module):
    def __init__(self, attention: Attention, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, 2, stride=2)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, _TOKENS, width))
        self.blocks = nn.Sequential(*(_Block(attention(width), width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.place
        scores: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return scores
