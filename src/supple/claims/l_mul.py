"""L-Mul (paper 66, 2410.00907): additions of whole numbers in the place of multiplications."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.claims import Arms, Rule, accuracy, best_lr, claim, digits, fit, seeded
from supple.compress.quantize import LMul, energy, simulate_fp8
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and lengths.

    Attributes:
        products: Random products of which the error is measured.
        width: Of the transformer.
        layers: Of the transformer.
        epochs: Passes of its training, in ordinary arithmetic.
    """

    products: int = 200_000
    width: int = 32
    layers: int = 3
    epochs: int = 30


@claim(
    paper=66,
    says="L-Mul with 3 bits of mantissa is at least as precise as 8-bit floats e5m2, with 4 bits "
    "about as e4m3, and attention computed in it is nearly lossless.",
    reported="Language models keep their scores with L-Mul in attention; 95 % of the energy of "
    "element products and 80 % of that of dot products are saved, by a model of the operations.",
    here="Products of normal numbers, and a transformer over the 8 rows of 8x8 digits that was "
    "trained in float32 and is run with attention in each arithmetic. Simulated: no time or energy "
    "is measured; 'energy saved' is the paper's model of 45 nm operations.",
    rules=(
        Rule(metric="error of a product", method="L-Mul 3 bits", baseline="e5m2", better="lower",
             expects="not worse", margin=0.0),
        Rule(metric="error of a product", method="L-Mul 4 bits", baseline="e4m3", better="lower",
             expects="not worse", margin=0.005),
        Rule(metric="accuracy", method="L-Mul 4 bits", baseline="exact", expects="equal",
             margin=0.005),
        Rule(metric="accuracy", method="L-Mul 4 bits", baseline="e4m3", expects="not worse",
             margin=0.005),
        Rule(metric="energy saved", method="L-Mul 4 bits", baseline=0.75, margin=0.0),
    ),
    quick=Settings(products=50_000, layers=2, epochs=6),
    full=Settings(),
    quick_seeds=3,
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Errors of products, and the network in every arithmetic."""
    data = digits(seed, images=True)

    def build() -> _Transformer:
        return _Transformer(settings.width, settings.layers)

    lr = best_lr(build, data, (1e-3, 4e-3), seed=seed, epochs=settings.epochs / 2)
    with seeded(seed, "weights"):
        model = build()
    fit(model, data, epochs=settings.epochs, lr=lr, seed=seed)
    draws = torch_generator(seed, "products")
    x, y = torch.randn(2, settings.products, generator=draws)
    exact = energy(1, how="float32")["total"]
    found: dict[str, dict[str, float]] = {}
    for arm, product in _arithmetics().items():
        model.product = product
        error = _element(product, x, y) / (x * y) - 1
        cost = energy(1, how="l_mul")["total"] if arm.startswith("L-Mul") else exact
        found[arm] = {
            "error of a product": float(error.square().mean().sqrt()),
            "accuracy": accuracy(model, data),
            "energy saved": 1 - cost / exact,
        }
    return found


Product = Callable[[Tensor, Tensor], Tensor]


def _arithmetics() -> dict[str, Product]:
    def eight(form: str) -> Product:
        def product(x: Tensor, y: Tensor) -> Tensor:
            kind = "e4m3" if form == "e4m3" else "e5m2"
            return simulate_fp8(x, kind) @ simulate_fp8(y, kind)  # type: ignore[arg-type]

        return product

    found: dict[str, Product] = {
        "exact": torch.matmul,
        "e4m3": eight("e4m3"),
        "e5m2": eight("e5m2"),
    }
    for bits in (2, 3, 4, 6):
        found[f"L-Mul {bits} bits"] = LMul(mantissa_bits=bits).matmul
    found["L-Mul 4 bits, l = 4"] = LMul(mantissa_bits=4, offset="calibrated").matmul
    return found


def _element(product: Product, x: Tensor, y: Tensor) -> Tensor:
    """Single products through a product of matrices of one element."""
    return product(x[:, None, None], y[:, None, None]).flatten()


class _Transformer(nn.Module):
    """Attention over the rows of an image; both of its products go through ``product``."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.product: Product = torch.matmul
        self.stem = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width) * 0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(layers)
        )
        self.head = nn.Linear(8 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x[:, 0]) + self.place
        for i, (qkv, out, mlp) in enumerate(zip(self.qkv, self.out, self.mlp, strict=True)):
            heads = qkv(self.norms[2 * i](x)).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
            q, k, v = heads
            scores = self.product(q / math.sqrt(q.shape[-1]), k.transpose(-1, -2)).softmax(-1)
            x = x + out(self.product(scores, v).transpose(1, 2).flatten(2))
            x = x + mlp(self.norms[2 * i + 1](x))
        found: Tensor = self.head(x.flatten(1))
        return found
