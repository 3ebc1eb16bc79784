"""Tensor products (paper 49, 2506.13523): the fast ones express less."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from supple.blocks.tensor_product import TensorProduct, expressivity
from supple.claims import Arms, Dots, Rule, claim
from supple.seeds import torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How large the timed features are, and how long the regression is trained."""

    degree: int = 5
    batch: int = 256
    steps: int = 1000
    repeats: int = 30


@claim(
    paper=49,
    says="Gaunt tensor products are faster than Clebsch-Gordan ones only because they express "
    "less: they cannot learn a cross product, and per degree of freedom they gain nothing.",
    reported="Asymptotic promises often fail in practice; runtime per degree of freedom grows "
    "alike for sparse Clebsch-Gordan and Gaunt products (the paper's analysis and benchmarks).",
    here="The cross product of two vectors is learned by products of degree 1 (error 1 is no "
    "better than zero). Products of two features of one degree are timed forward on one thread; "
    "degrees of freedom are the measured rank of the map's derivative by its weights.",
    rules=(
        Rule(metric="error", method="cg", baseline="gaunt", better="lower", margin=0.9),
        Rule(metric="error", method="vector gaunt", baseline=0.01, better="lower"),
        Rule(metric="microseconds", method="gaunt", baseline="cg", better="lower", scale="ratio",
             margin=1.5, unit="us"),
        Rule(metric="microseconds per freedom", method="cg sparse", baseline="gaunt",
             better="lower", expects="not worse", scale="ratio", margin=1.1, unit="us"),
    ),
    quick=Settings(degree=4, batch=64, steps=300, repeats=10),
    full=Settings(),
    figure=Dots(metric="microseconds", log=True),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Learn a cross product, count freedom and time each product."""
    draw = torch_generator(seed, "tensor product claim")
    x, y = (torch.randn((512, 4), generator=draw) for _ in range(2))
    # A vector stands in the order (y, z, x) after the scalar.
    goal = torch.linalg.cross(x[:, [3, 1, 2]], y[:, [3, 1, 2]])[:, [1, 2, 0]]
    side = (settings.degree + 1) ** 2
    large = tuple(torch.randn((settings.batch, side), generator=draw) for _ in range(2))
    found = {}
    for name, kind in _KINDS.items():
        product = TensorProduct(
            degree1=settings.degree, degree2=settings.degree, degree_out=settings.degree,
            kind=kind,  # type: ignore[arg-type]
        )  # fmt: skip
        seconds = _seconds(product, large, settings.repeats)
        freedom = _freedom(kind, settings.degree)
        found[name] = {
            "error": _learned(kind, x, y, goal, settings.steps),
            "microseconds": 1e6 * seconds,
            "microseconds per freedom": 1e6 * seconds / freedom,
            "freedom": float(freedom),
        }
    return found


_KINDS = {
    "cg": "cg",
    "cg sparse": "cg_sparse",
    "gaunt": "gaunt",
    "vector gaunt": "vector_gaunt",
    "matrix": "matrix",
}


def _freedom(kind: str, degree: int) -> int:
    """Measured up to degree 3, where it is quick, and by the pattern it shows beyond.

    The output is cut at the degree of the inputs, so paths beyond it do not count.
    """
    if kind.startswith("cg"):
        return len(TensorProduct(degree1=degree, degree2=degree, degree_out=degree).paths)
    if degree <= 3:
        return expressivity(kind, degree)  # type: ignore[arg-type]
    fields = 3 if kind == "vector_gaunt" else 1
    return 3 * fields * (degree + 1) - 2


def _learned(kind: str, x: Tensor, y: Tensor, goal: Tensor, steps: int) -> float:
    """The error left after training the weights, in units of the goal's variance."""
    product = TensorProduct(degree1=1, degree2=1, kind=kind)  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in product.parameters():
            weight.normal_()
    optimizer = torch.optim.Adam(product.parameters(), lr=0.03)
    half = len(x) // 2
    for _ in range(steps):
        optimizer.zero_grad()
        wanted = torch.zeros(half, 9)
        wanted[:, 1:4] = goal[:half]
        (product(x[:half], y[:half]) - wanted).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        rest = product(x[half:], y[half:])[:, 1:4] - goal[half:]
    return float(rest.square().mean() / goal[half:].square().mean())


def _seconds(product: TensorProduct, inputs: tuple[Tensor, ...], repeats: int) -> float:
    """The median of some runs, after a few that are not counted."""
    times = []
    with torch.no_grad():
        for _ in range(repeats + 3):
            began = time.perf_counter()
            product(*inputs)
            times.append(time.perf_counter() - began)
    return sorted(times[3:])[repeats // 2]
