"""Code that changes only gradients in training gets a graph of its own, whatever it does it by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supple import Elastic
from supple.elastic import _checks

X = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))


class Straight(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class Blocking(torch.autograd.Function):
    """The same numbers, without a gradient: nothing of it is in the graph of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone()
        ctx.mark_non_differentiable(y)
        return y


class Stopping(nn.Module):
    """Two layers; what comes between them is the same in both modes but for gradients."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.between(x) if self.training else self.first(x).tanh())
        return y

    def between(self, x: Tensor) -> Tensor:
        if self.way == "no_grad":
            with torch.no_grad():
                return self.first(x).tanh()
        hidden = self.first(x).tanh()
        if self.way == "data":
            return hidden.data
        if self.way == "hook":
            hidden.register_hook(lambda gradient: 3 * gradient)
        if self.way == "scaled":
            return hidden.detach() * 0.75 + hidden * 0.25
        if self.way == "blocked":
            return hidden + Blocking.apply(hidden) - Blocking.apply(hidden)
        return hidden.detach() if self.way == "detach" else hidden


class OwnBackward(nn.Module):
    """In training its derivative is one that torch does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        y: Tensor = self.last(Straight.apply(hidden) if self.training else hidden.sign())
        return y


class Plain(nn.Module):
    """It asks for the mode and does the same in both."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden = hidden.relu() if self.training else torch.relu(hidden)
        y: Tensor = self.last(hidden)
        return y


def compared(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many backward passes the checks of a network take."""
    calls: list[Any] = []
    real = _checks._gradient_sums
    monkeypatch.setattr(_checks, "_gradient_sums", lambda *a: calls.append(a) or real(*a))
    Elastic(model, (X,))
    return len(calls)


def gradients(network: nn.Module) -> dict[str, Tensor | None]:
    network.train()(X).square().sum().backward()
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("way", ["no_grad", "data", "hook", "scaled", "detach", "blocked"])
def test_where_gradients_are_stopped_they_are_compared(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compared(Stopping(way).eval(), monkeypatch) >= 1


def test_where_a_backward_is_the_models_own_gradients_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert compared(OwnBackward().eval(), monkeypatch) >= 1


def test_where_the_output_tells_them_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compared(Plain().eval(), monkeypatch) == 0


@pytest.mark.parametrize("make", [Plain, lambda: Stopping("no_grad"), lambda: Stopping("scaled")])
def test_gradients_are_those_of_the_model(make: Any) -> None:
    model = make().eval()
    net = Elastic(model, (X,))
    want, got = gradients(model), gradients(net)
    for name, gradient in want.items():
        found = got[name]
        assert (found is None) == (gradient is None), name
        if found is not None and gradient is not None:
            torch.testing.assert_close(found, gradient)
