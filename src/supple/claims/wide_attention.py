"""Wide attention (paper 119, 2210.00640): all heads in one layer."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from supple.blocks.wide_attention import WideEncoder
from supple.claims import Arms, Dots, Rule, claim, seeded
from supple.seeds import generator, torch_generator

__all__ = ["Settings", "measure"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Length of the training, number of expressions, layers of the deep network."""

    steps: int = 1200
    examples: int = 4000
    layers: int = 6
    length: int = 24


@claim(
    paper=119,
    says="With the same number of heads in all, one wide layer of attention is about as accurate "
    "as a deep network, smaller and faster.",
    reported="0.3 % more accurate on average over four tasks and ten kinds of attention, 1.4 times "
    "smaller, 3.1 times faster on a CPU.",
    here="ListOps: nested MIN, MAX, MEDIAN and SUM MOD 10 of digits, up to 24 tokens, ten classes. "
    "Twelve heads of size 8 in six layers of two or in one of twelve; width 32, feed-forward 64; "
    "the same steps, each at the better of two learning rates. Latency of one example, forward.",
    rules=(
        Rule(metric="accuracy", method="wide", baseline="deep", expects="not worse", margin=0.02),
        Rule(metric="milliseconds", method="wide", baseline="deep", better="lower", scale="ratio",
             margin=2.0, unit="ms"),
        Rule(metric="parameters", method="wide", baseline="deep", better="lower", scale="ratio",
             margin=1.2),
    ),
    quick=Settings(steps=100, examples=1000),
    full=Settings(),
    figure=Dots(metric="accuracy"),
)  # fmt: skip
def measure(seed: int, settings: Settings) -> Arms:
    """Train both networks on the same expressions."""
    x, y = _list_ops(settings.examples + 1000, settings.length, seed)
    train, test = (x[:-1000], y[:-1000]), (x[-1000:], y[-1000:])
    found = {}
    for arm, layers in (("deep", settings.layers), ("wide", 1)):
        tries = [_trained(layers, settings, lr, train, seed) for lr in (1e-3, 3e-3)]
        model, _ = max(tries, key=lambda one: one[1])
        with torch.no_grad():
            right = model.eval()(test[0]).argmax(1) == test[1]
        found[arm] = {
            "accuracy": float(right.float().mean()),
            "milliseconds": _milliseconds(model, test[0][:1]),
            "parameters": float(sum(p.numel() for p in model.parameters())),
        }
    return found


_OPERATORS = ("MIN", "MAX", "MED", "SM")
_CLOSE, _PAD, _TOKENS = 14, 15, 16  # digits are 0 to 9, operators 10 to 13


def _list_ops(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Expressions as tokens, padded, and their values."""
    draw = generator(seed, "list ops")

    def expression(room: int, depth: int) -> tuple[list[int], int]:
        if depth == 0 or room < 4 or (depth < 3 and draw.random() < 0.5):
            digit = int(draw.integers(10))
            return [digit], digit
        kind = int(draw.integers(4))
        tokens, values = [10 + kind], []
        for left in range(min(int(draw.integers(2, 5)), room - 2), 0, -1):
            # What is left after the bracket that closes, and a digit for each operand to come.
            part, value = expression(room - len(tokens) - left, depth - 1)
            tokens += part
            values.append(value)
        return [*tokens, _CLOSE], _value(kind, values)

    rows, values = [], []
    for _ in range(count):
        tokens, value = expression(length, 3)
        rows.append(tokens + [_PAD] * (length - len(tokens)))
        values.append(value)
    return torch.tensor(rows), torch.tensor(values)


def _value(kind: int, values: list[int]) -> int:
    name = _OPERATORS[kind]
    if name == "SM":
        return sum(values) % 10
    ordered = sorted(values)
    return {"MIN": ordered[0], "MAX": ordered[-1], "MED": ordered[len(ordered) // 2]}[name]


def _trained(
    layers: int, settings: Settings, lr: float, data: tuple[Tensor, Tensor], seed: int
) -> tuple[WideEncoder, float]:
    """A trained network, and its accuracy on the last fifth, which it was not trained on."""
    with seeded(seed, "weights"):
        model = WideEncoder(
            vocabulary=_TOKENS, in_features=32, layers=layers, num_heads=12 // layers, head_dim=8,
            hidden_features=64, num_classes=10, max_length=settings.length,
        )  # fmt: skip
    x, y = data
    cut = len(x) * 4 // 5
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    draw = torch_generator(seed, "batches")
    for _ in range(settings.steps):
        part = torch.randint(cut, (64,), generator=draw)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(x[part]), y[part]))
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = model.eval()(x[cut:]).argmax(1) == y[cut:]
    return model, float(right.float().mean())


def _milliseconds(model: WideEncoder, x: Tensor) -> float:
    """The median of thirty runs."""
    times = []
    with torch.no_grad():
        for _ in range(33):
            began = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - began)
    return 1e3 * sorted(times[3:])[15]
