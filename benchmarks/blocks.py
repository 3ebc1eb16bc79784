"""What blocks cost: forward and backward over a plain reference or the best-known implementation.

    .venv/bin/python benchmarks/blocks.py [WORD ...] [--seconds 2] [--docs docs]

Each figure is the median of ratios formed inside a round, in which both sides are timed close
together and in random order, with its 95 % interval; a ratio above 1 says that supple's block is
slower. One thread, processor time, gradients of the inputs and of all weights. ``same`` says that
both sides compute one and the same function of the same weights, which is checked before timing;
the others do the same job with other weights. e3nn is compared where it is installed. With words,
only the lines that hold one of them. ``--docs`` puts the table into the page on blocks.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple import blocks as b
from supple.measure import machine
from supple.measure._timing import Figure, Plan, paired_ratio, time_rounds

LIMIT = 3.0  # slower than this against the best known, a better formula is needed
CLOCK = time.process_time


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A block, what it is compared with, and inputs for both.

    Attributes:
        name: What the line is called.
        versus: What the block is compared with.
        block: The block.
        other: A module with its own weights, or a function that uses the block's.
        inputs: Positional arguments of both.
        is_same: Both sides give the same outputs.
        is_limit: Whether being more than three times slower is a fault; where the other side does
            less (batch norm beside an EvoNorm), the ratio is the price of what is done.
    """

    name: str
    versus: str
    block: nn.Module
    other: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    is_same: bool = True
    is_limit: bool = True


def timed(pair: Pair, seconds: float) -> Figure:
    """The block's time over the other's."""
    if pair.is_same:
        with torch.no_grad():
            torch.testing.assert_close(
                pair.block(*pair.inputs), pair.other(*pair.inputs), rtol=1e-3, atol=1e-4
            )
    others = pair.other if isinstance(pair.other, nn.Module) else pair.block
    plan = Plan(warmup=3, rounds=15, max_seconds=seconds, block_seconds=0.02, noise_limit=0.03)
    runs = (_step(pair.block, pair.block, pair.inputs), _step(pair.other, others, pair.inputs))
    return paired_ratio(time_rounds(runs, plan, paired_ratio, clock=CLOCK))


def _step(
    call: Callable[..., Tensor], owner: nn.Module, inputs: tuple[Tensor, ...]
) -> Callable[[], object]:
    """Forward and backward, with gradients of what can have them."""
    given = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
    wanted = [x for x in given if x.requires_grad]
    wanted += [p for p in owner.parameters() if p.requires_grad]

    def step() -> object:
        return torch.autograd.grad(call(*given).square().sum(), wanted, allow_unused=True)

    return step


# -- Kolmogorov-Arnold ----------------------------------------------------------------------------
def recursive_splines(x: Tensor, knots: Tensor, order: int) -> Tensor:
    """B-splines by the recursion of Cox and de Boor, as pykan and efficient-kan have them."""
    x = x.unsqueeze(-1)
    values = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
    for k in range(1, order + 1):
        left = (x - knots[: -k - 1]) / (knots[k:-1] - knots[: -k - 1])
        right = (knots[k + 1 :] - x) / (knots[k + 1 :] - knots[1:-k])
        values = left * values[..., :-1] + right * values[..., 1:]
    return values


def spline_knots(layer: b.KANLinear) -> Tensor:
    """The knots of the layer's B-splines."""
    base = layer.basis
    steps = torch.arange(-base.order, base.grid + base.order + 1)
    return base.low + steps * (base.high - base.low) / base.grid


def pykan(layer: b.KANLinear, x: Tensor) -> Tensor:
    """Every edge's own spline and residual, then the sum over the inputs, as pykan computes it."""
    values = recursive_splines(x, pykan.knots[id(layer)], layer.basis.order)  # type: ignore[attr-defined]
    curves = torch.einsum("bim,oim->bio", values, layer.weight)
    edges = F.silu(x).unsqueeze(-1) * layer.base_weight.T + curves
    return edges.sum(1) + layer.bias


pykan.knots = {}  # type: ignore[attr-defined]


def efficient_kan(layer: b.KANLinear, x: Tensor) -> Tensor:
    """The recursion once for each input, then one matrix product."""
    values = recursive_splines(x, pykan.knots[id(layer)], layer.basis.order)  # type: ignore[attr-defined]
    return (
        F.linear(F.silu(x), layer.base_weight)
        + F.linear(values.flatten(-2), layer.weight.flatten(1))
        + layer.bias
    )


def chebyshev_by_angles(layer: b.KANLinear, x: Tensor) -> Tensor:
    """``cos(n arccos(tanh x))``, as the first released Chebyshev KAN has it."""
    angle = torch.tanh(x).clamp(-1 + 1e-6, 1 - 1e-6).arccos().unsqueeze(-1)
    values = (angle * torch.arange(layer.basis.size)).cos()
    return torch.einsum("bim,oim->bo", values, layer.weight) + layer.bias


def fourier_by_einsum(layer: b.KANLinear, x: Tensor) -> Tensor:
    """Cosines and sines contracted one after the other, as the first released one has it."""
    grid = layer.basis.grid
    angle = x.unsqueeze(-1) * torch.arange(1.0, grid + 1)
    return (
        torch.einsum("bim,oim->bo", angle.cos(), layer.weight[..., :grid])
        + torch.einsum("bim,oim->bo", angle.sin(), layer.weight[..., grid:])
        + layer.bias
    )


def kan(x: Tensor) -> Iterator[Pair]:
    splines = b.KANLinear(64, 64, basis="bspline", grid=5, order=3)
    pykan.knots[id(splines)] = spline_knots(splines)  # type: ignore[attr-defined]
    inside = x.clamp(-0.99, 0.99)
    for name, other in (("pykan's formula", pykan), ("efficient-kan's formula", efficient_kan)):
        yield Pair(
            name="KANLinear bspline", versus=name, block=splines,
            other=partial(other, splines), inputs=(inside,),
        )  # fmt: skip
    for kind, name, other in (
        ("chebyshev", "cos(n arccos x)", chebyshev_by_angles),
        ("fourier", "two contractions", fourier_by_einsum),
    ):
        layer = b.KANLinear(64, 64, basis=kind)
        yield Pair(
            name=f"KANLinear {kind}", versus=name, block=layer, other=partial(other, layer),
            inputs=(x,),
        )  # fmt: skip
    selectable = b.SelectableKANLinear(64, 64)
    yield Pair(
        name="SelectableKANLinear", versus="the sum of five KANLinear", block=selectable,
        other=_Sum([b.KANLinear(64, 64, basis=kind) for kind in
                    ("bspline", "rbf", "chebyshev", "fourier", "silu")]),
        inputs=(x,), is_same=False, is_limit=False,
    )  # fmt: skip
    yield Pair(
        name="AFKANLinear", versus="ReLU-KAN of as many functions", block=b.AFKANLinear(64, 64),
        other=b.KANLinear(64, 64, basis="relu_bump", grid=3, order=3), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    attention = b.KolmogorovArnoldAttention(64, 4, 17, grid_size=3)
    yield Pair(
        name="KolmogorovArnoldAttention", versus="softmax attention", block=attention,
        other=_softmax_attention(64, 4), inputs=(torch.randn(32, 17, 64),),
        is_same=False, is_limit=False,
    )  # fmt: skip


class _Sum(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        total = self.parts[0](x)
        for part in self.parts[1:]:
            total = total + part(x)
        return total


def _softmax_attention(width: int, heads: int) -> nn.Module:
    return b.WideAttention(in_features=width, num_heads=heads, head_dim=width // heads)


# -- other algebras -------------------------------------------------------------------------------
def hypercomplex() -> Iterator[Pair]:
    for n in (2, 4):
        layer = b.PHMLinear(256, 256, n=n)
        yield Pair(
            name=f"PHMLinear n={n}", versus="torch.kron, summed", block=layer,
            other=partial(_by_kron, layer), inputs=(torch.randn(128, 256),),
        )  # fmt: skip
    conv = b.PHConv2d(32, 32, 3, n=4, padding=1)
    yield Pair(
        name="PHConv2d n=4", versus="torch.kron, summed", block=conv,
        other=partial(_by_kron, conv), inputs=(torch.randn(16, 32, 16, 16),),
    )  # fmt: skip
    plain = nn.Conv2d(32, 32, 3, padding=1)
    yield Pair(
        name="PHConv2d n=4", versus="a real convolution", block=conv, other=plain,
        inputs=(torch.randn(16, 32, 16, 16),), is_same=False, is_limit=False,
    )  # fmt: skip


def _by_kron(layer: nn.Module, x: Tensor) -> Tensor:
    weight = torch.stack(
        [
            torch.kron(rule.reshape(*rule.shape, *[1] * (block.dim() - 2)), block)
            for rule, block in zip(layer.rules, layer.blocks, strict=True)
        ]
    ).sum(0)
    if x.dim() == 2:
        return F.linear(x, weight, layer.bias)
    return F.conv2d(x, weight, layer.bias, padding=1)


def poincare() -> Iterator[Pair]:
    linear = b.PoincareLinear(in_features=64, out_features=64)
    yield Pair(
        name="PoincareLinear", versus="a linear layer", block=linear, other=nn.Linear(64, 64),
        inputs=(0.3 * torch.randn(256, 64),), is_same=False, is_limit=False,
    )  # fmt: skip
    yield Pair(
        name="PoincareLinear", versus="plain formula", block=linear,
        other=partial(_hyperplanes, linear), inputs=(0.3 * torch.randn(256, 64),),
    )  # fmt: skip


def _hyperplanes(layer: b.PoincareLinear, x: Tensor) -> Tensor:
    """Poincare fully connected as the formula stands: every distance, then the exponential map."""
    c = layer.ball.c.abs() if isinstance(layer.ball.c, Tensor) else torch.tensor(layer.ball.c)
    root = c.sqrt()
    size = x.norm(dim=-1, keepdim=True)
    p = torch.tanh(root * size) * x / (root * size)
    factor = 2 / (1 - c * p.square().sum(-1, keepdim=True))
    length = layer.weight.norm(dim=1)
    shift = 2 * root * layer.bias
    inner = p @ (layer.weight / length[:, None]).T
    distance = torch.asinh(root * factor * inner * shift.cosh() - (factor - 1) * shift.sinh())
    v = 2 * length / root * distance
    w = torch.sinh(root * v) / root
    y = w / (1 + (1 + c * w.square().sum(-1, keepdim=True)).sqrt())
    size = y.norm(dim=-1, keepdim=True)
    return torch.atanh(root * size) * y / (root * size)


def tensor_products() -> Iterator[Pair]:
    for degree in (2, 4):
        side = (degree + 1) ** 2
        inputs = torch.randn(256, side), torch.randn(256, side)
        made = {
            kind: b.TensorProduct(
                degree1=degree, degree2=degree, degree_out=degree, kind=kind
            )
            for kind in ("cg", "cg_sparse", "gaunt", "vector_gaunt", "matrix")
        }  # fmt: skip
        if find_spec("e3nn"):
            for kind in ("cg", "cg_sparse"):
                yield Pair(
                    name=f"TensorProduct {kind}, degree {degree}", versus="e3nn",
                    block=made[kind], other=_e3nn(degree), inputs=inputs, is_same=False,
                )  # fmt: skip
        for kind in ("cg_sparse", "gaunt", "vector_gaunt", "matrix"):
            yield Pair(
                name=f"TensorProduct {kind}, degree {degree}", versus="supple's cg",
                block=made[kind], other=made["cg"], inputs=inputs, is_same=kind == "cg_sparse",
                is_limit=kind == "cg_sparse",
            )  # fmt: skip


def _e3nn(degree: int) -> nn.Module:
    from e3nn import o3

    features = "+".join(f"1x{each}e" for each in range(degree + 1))
    # All even: then e3nn has the paths of both parities too.
    return o3.FullyConnectedTensorProduct(features, features, features)


# -- convolutions and norms -----------------------------------------------------------------------
def convolutions() -> Iterator[Pair]:
    x = torch.randn(8, 32, 24, 24)
    for version in ("v1", "gauss"):
        block = b.DCLSConv2d(
            in_channels=32, out_channels=32, groups=32, kernel_count=16, dilated_kernel_size=13,
            padding=6, version=version,
        )  # fmt: skip
        dense = nn.Conv2d(32, 32, 13, padding=6, groups=32)
        yield Pair(
            name=f"DCLSConv2d {version}", versus="a dense convolution, same reach", block=block,
            other=dense, inputs=(x,), is_same=False,
        )  # fmt: skip
    for kind in ("S0", "B0"):
        block = b.EvoNorm2d(num_features=32, kind=kind, groups=8)
        yield Pair(
            name=f"EvoNorm2d {kind}", versus="the formula, as timm has it", block=block,
            other=partial(_evonorm, block), inputs=(x,),
        )  # fmt: skip
    yield Pair(
        name="EvoNorm2d S0", versus="group norm and SiLU",
        block=b.EvoNorm2d(num_features=32, kind="S0", groups=8),
        other=nn.Sequential(nn.GroupNorm(8, 32), nn.SiLU()), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    yield Pair(
        name="EvoNorm2d B0", versus="batch norm and ReLU",
        block=b.EvoNorm2d(num_features=32, kind="B0"),
        other=nn.Sequential(nn.BatchNorm2d(32), nn.ReLU()), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    yield Pair(
        name="InstanceBatchNorm2d", versus="batch norm",
        block=b.InstanceBatchNorm2d(num_features=32), other=nn.BatchNorm2d(32), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    stack = b.ResidualStack([_branch() for _ in range(4)], mode="parallel")
    yield Pair(
        name="ResidualStack, parallel", versus="the same in a row", block=stack,
        other=b.ResidualStack([_branch() for _ in range(4)], mode="sequential"), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    fused = b.fuse_parallel_convs(stack)
    yield Pair(
        name="ResidualStack, fused", versus="parallel", block=fused, other=stack, inputs=(x,)
    )
    head = b.MultiOutputHead(head=nn.Conv2d(32, 3, 3, padding=1), num_heads=4)
    yield Pair(
        name="MultiOutputHead 4", versus="four convolutions", block=head,
        other=partial(_four_heads, head), inputs=(x,),
    )  # fmt: skip
    prototypes = b.PartPrototypeHead(32, 10, prototypes_per_class=4, dim=16)
    yield Pair(
        name="PartPrototypeHead", versus="a pooled linear head", block=prototypes,
        other=nn.Sequential(nn.Conv2d(32, 16, 1), nn.Conv2d(16, 40, 1), nn.AdaptiveMaxPool2d(1),
                            nn.Flatten(), nn.Linear(40, 10)),
        inputs=(x,), is_same=False, is_limit=False,
    )  # fmt: skip


def _branch() -> nn.Module:
    return nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())


def _evonorm(block: b.EvoNorm2d, x: Tensor) -> Tensor:
    scale, shift, v = (p.reshape(1, -1, 1, 1) for p in (block.weight, block.bias, block.v))
    if block.kind == "B0":
        batch = (x.var((0, 2, 3), correction=0) + block.eps).sqrt().reshape(1, -1, 1, 1)
        block.running_var.lerp_(x.detach().var((0, 2, 3)), block.momentum)
        other = x * v + (x.var((2, 3), correction=0, keepdim=True) + block.eps).sqrt()
        return x / torch.maximum(batch, other) * scale + shift
    parts = x.reshape(len(x), block.groups, -1)
    std = (parts.var(2, correction=0, keepdim=True) + block.eps).sqrt()
    std = std.expand(parts.shape).reshape(x.shape)
    return x * (x * v).sigmoid() / std * scale + shift


def _four_heads(head: b.MultiOutputHead, x: Tensor) -> Tensor:
    parts = zip(head.layer.weight.chunk(4), head.layer.bias.chunk(4), strict=True)
    answers = [F.conv2d(x, weight, bias, padding=1) for weight, bias in parts]
    pairs = [(answers[i] + answers[j]) / 2 for i in range(4) for j in range(i)]
    return torch.stack(answers + pairs, 1)


# -- activations ----------------------------------------------------------------------------------
def activations(x: Tensor) -> Iterator[Pair]:
    maxmin, sort4 = b.MaxMin(), b.GroupSort(group_size=4)
    yield Pair(
        name="MaxMin", versus="torch.sort of pairs", block=maxmin,
        other=lambda x: x.unflatten(-1, (-1, 2)).sort(-1).values.flatten(-2), inputs=(x,),
    )  # fmt: skip
    yield Pair(name="GroupSort 4", versus="ReLU", block=sort4, other=nn.ReLU(), inputs=(x,),
               is_same=False, is_limit=False)  # fmt: skip
    turned = b.Householder(num_features=x.shape[-1])
    yield Pair(name="Householder", versus="its matrix", block=turned,
               other=partial(_reflected, turned), inputs=(x,))  # fmt: skip
    dice = b.Dice(num_features=x.shape[-1])
    yield Pair(name="Dice", versus="batch norm and PReLU", block=dice,
               other=nn.Sequential(nn.BatchNorm1d(x.shape[-1]), nn.PReLU()), inputs=(x,),
               is_same=False, is_limit=False)  # fmt: skip
    for block, versus, other in (
        (b.PolyReLU(degree=3), "powers, one by one", _poly_relu),
        (b.PolyNorm(degree=3), "powers, one by one", _poly_norm),
        (b.PolyNorm(degree=3), "GELU", None),
        (b.ConsistentActivation(dimension=2), "its polynomial", _consistent),
        (b.SELU(), "torch's SELU", F.selu),
        (b.AlphaDropout(p=0.1), "torch's alpha dropout", None),
    ):
        plain: Callable[..., Tensor]
        if other is None:
            plain = nn.GELU() if isinstance(block, b.PolyNorm) else nn.AlphaDropout(0.1)
        else:
            plain = other if other is F.selu else partial(other, block)
        yield Pair(name=type(block).__name__, versus=versus, block=block, other=plain,
                   inputs=(x,), is_same=other is not None, is_limit=other is not None)  # fmt: skip


def _reflected(block: b.Householder, x: Tensor) -> Tensor:
    v = torch.stack((block.angle.cos(), block.angle.sin()), -1)
    pairs = x.unflatten(-1, (-1, 2))
    inner = (pairs * v).sum(-1, keepdim=True)
    matrix = torch.eye(2) - 2 * v.unsqueeze(-1) * v.unsqueeze(-2)
    moved = torch.einsum("pij,...pj->...pi", matrix, pairs)
    return torch.where(inner > 0, moved, pairs).flatten(-2)


def _poly_relu(block: b.PolyReLU, x: Tensor) -> Tensor:
    return block.coefficients[0] + sum(
        block.coefficients[i] * x.relu().pow(i) for i in range(1, block.degree + 1)
    )


def _poly_norm(block: b.PolyNorm, x: Tensor) -> Tensor:
    total = block.coefficients[0]
    for i in range(1, block.degree + 1):
        power = x.pow(i)
        size = (power.square().mean(-1, keepdim=True) + block.eps).sqrt()
        total = total + block.coefficients[i] * power / size
    return total


def _consistent(block: b.ConsistentActivation, z: Tensor) -> Tensor:
    return (z + (z.pow(3) - 3 * z) / math.sqrt(6)) / math.sqrt(2)


# -- layers on vectors and sequences --------------------------------------------------------------
def layers(x: Tensor) -> Iterator[Pair]:
    products = b.ProductUnit(64, 16)
    yield Pair(
        name="ProductUnit", versus="powers, multiplied", block=products,
        other=partial(_products, products), inputs=(1 + torch.rand(256, 64),),
    )  # fmt: skip
    kernel = b.SNNKLinear(in_features=64, out_features=256, num_features=64)
    yield Pair(
        name="SNNKLinear", versus="linear and ReLU", block=kernel,
        other=nn.Sequential(nn.Linear(64, 256), nn.ReLU()), inputs=(x,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    experts = b.SwitchFFN(in_features=64, hidden_features=128, num_experts=4, capacity_factor=None)
    tokens = torch.randn(1024, 64)
    yield Pair(
        name="SwitchFFN 4", versus="all experts, then the chosen", block=experts,
        other=partial(_all_experts, experts), inputs=(tokens,),
    )  # fmt: skip
    yield Pair(
        name="SwitchFFN 4", versus="one dense layer", block=experts,
        other=nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)), inputs=(tokens,),
        is_same=False, is_limit=False,
    )  # fmt: skip
    components = b.ClassificationByComponents(in_features=64, num_components=20, num_classes=10)
    yield Pair(
        name="ClassificationByComponents", versus="sums over components", block=components,
        other=partial(_reasoned, components), inputs=(x,),
    )  # fmt: skip
    wide = b.WideAttention(in_features=64, num_heads=8, head_dim=8)
    yield Pair(
        name="WideAttention", versus="torch's MultiheadAttention", block=wide,
        other=_Multihead(64, 8), inputs=(torch.randn(32, 32, 64),), is_same=False, is_limit=False,
    )  # fmt: skip
    hourglass = b.HourglassMLP(64, 10, latent_features=128, bottleneck_features=32, depth=4)
    yield Pair(
        name="HourglassMLP", versus="plain modules", block=hourglass,
        other=partial(_hourglass, hourglass), inputs=(x,),
    )  # fmt: skip
    tower = b.ScaledResidualTower([nn.Linear(64, 64) for _ in range(8)], scale="1/sqrt_n")
    yield Pair(
        name="ScaledResidualTower", versus="a loop", block=tower, other=partial(_loop, tower),
        inputs=(x,),
    )  # fmt: skip


def _products(block: b.ProductUnit, x: Tensor) -> Tensor:
    return x.unsqueeze(-2).pow(block.weight).prod(-1)


def _all_experts(block: b.SwitchFFN, x: Tensor) -> Tensor:
    p = block.router(x).softmax(-1)
    hidden = torch.einsum("td,ehd->teh", x, block.weight1) + block.bias1
    outputs = torch.einsum("teh,edh->ted", hidden.relu(), block.weight2) + block.bias2
    best = p.argmax(-1)
    rows = torch.arange(len(x))
    return outputs[rows, best] * p[rows, best].unsqueeze(-1)


def _reasoned(block: b.ClassificationByComponents, x: Tensor) -> Tensor:
    d = torch.exp(-(x[:, None] - block.components).norm(dim=-1) / block.sigma)
    positive, negative = block.head.probabilities()
    return (d[:, None] * positive + (1 - d[:, None]) * negative).sum(-1)


def _hourglass(block: b.HourglassMLP, x: Tensor) -> Tensor:
    z = x @ block.lift.T
    for part in block.blocks:
        z = z + part.widen(part.activation(part.narrow(part.norm(z))))
    return block.head(block.norm(z))


def _loop(tower: b.ScaledResidualTower, x: Tensor) -> Tensor:
    for branch in tower.branches:
        x = x + branch(x) / math.sqrt(len(tower.branches))
    return x


class _Multihead(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


def pairs() -> Iterator[Pair]:
    """All comparisons."""
    torch.manual_seed(0)
    x = torch.randn(256, 64)
    yield from kan(x)
    yield from hypercomplex()
    yield from poincare()
    yield from tensor_products()
    yield from convolutions()
    yield from activations(torch.randn(256, 512))
    yield from layers(x)


BEGIN, END = "<!-- costs: begin -->\n", "<!-- costs: end -->\n"


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only the lines that hold one of them")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line")
    parser.add_argument("--docs", type=Path, help="folder of blocks.md, which gets the table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    warnings.simplefilter("ignore")
    print("\n".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"\n    {'block':<37}{'against':<34}{'ratio':>7}")
    rows = ["| block | beside | same function | ratio |", "|---|---|---|---|"]
    for pair in pairs():
        if asked.words and not any(w in f"{pair.name} {pair.versus}" for w in asked.words):
            continue
        found = timed(pair, asked.seconds)
        notes = ("same  " if pair.is_same else "      ") + (
            "SLOW" if pair.is_limit and found.low > LIMIT else ""
        )
        print(
            f"    {pair.name:<37}{pair.versus:<34}{found.value:7.2f} "
            f"[{found.low:.2f}, {found.high:.2f}]  {notes}"
        )
        interval = f"**{found.value:.2f}** [{found.low:.2f}, {found.high:.2f}]"
        same = "yes" if pair.is_same else "no"
        rows.append(f"| {pair.name} | {pair.versus} | {same} | {interval} |")
    if asked.docs:
        page = asked.docs / "blocks.md"
        before, _, rest = page.read_text("utf-8").partition(BEGIN)
        page.write_text(
            before + BEGIN + "\n".join(rows) + "\n" + END + rest.partition(END)[2], "utf-8"
        )


if __name__ == "__main__":
    main()
