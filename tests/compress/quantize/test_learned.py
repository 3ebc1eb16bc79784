"""LSQ and PACT: the papers' gradients, written out."""

import math

import pytest
import torch

from supple.compress.quantize import LSQ, PACT
from supple.errors import CompressError


def test_lsq_gradient_is_the_papers():
    x = torch.tensor([0.3, -0.9, 2.2, -7.0, 9.0, 0.0], requires_grad=True)
    layer = LSQ(bits=3, step=0.7)
    up = torch.tensor([1.0, -2.0, 0.5, 3.0, 1.5, 1.0])
    layer(x).backward(up)
    total = 0.0
    for value, g in zip(x.tolist(), up.tolist(), strict=True):
        v = value / 0.7
        if v <= -4:
            total += -4 * g
        elif v >= 3:
            total += 3 * g
        else:
            total += (round(v) - v) * g
    assert float(layer.step.grad) == pytest.approx(total / math.sqrt(6 * 3), rel=1e-5)
    inside = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    assert torch.equal(x.grad, up * inside)


def test_lsq_starts_from_the_first_values():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    layer = LSQ(bits=4)
    layer(x)
    assert float(layer.step.detach()) == pytest.approx(2 * float(x.abs().mean()) / math.sqrt(7))


def test_pact_gradient_and_grid():
    x = torch.tensor([-1.0, 0.4, 2.0, 3.5, 3.0], requires_grad=True)
    layer = PACT(bits=2, alpha=3.0)
    found = layer(x)
    assert found.tolist() == [0.0, 0.0, 2.0, 3.0, 3.0]
    found.backward(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert float(layer.alpha.grad) == 24.0
    assert x.grad.tolist() == [0.0, 2.0, 4.0, 0.0, 0.0]


def test_bad_settings():
    for make in (lambda: LSQ(bits=1), lambda: LSQ(step=-1.0), lambda: PACT(alpha=0.0)):
        with pytest.raises(CompressError):
            make()
