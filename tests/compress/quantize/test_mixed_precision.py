"""Sensitivity against exact Hessians, allocation against exhaustive search."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from supple.compress.quantize import Uniform, allocate_bits, hessian_traces, sensitivities
from supple.errors import CompressError, DataError


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def batch():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, generator=draws), torch.randn(6, 2, generator=draws)


def exact_traces(model, inputs, targets):
    found = {}
    for name in ("0", "2"):
        weight = model.get_submodule(name).weight

        def loss(w, name=name):
            out = torch.func.functional_call(model, {f"{name}.weight": w}, inputs)
            return F.mse_loss(out, targets)

        hessian = torch.autograd.functional.hessian(loss, weight.detach())
        n = weight.numel()
        found[name] = float(hessian.reshape(n, n).trace())
    return found


def test_traces_come_near_the_exact_ones():
    model = network()
    expected = exact_traces(model, *batch())
    found = hessian_traces(model, [batch()], F.mse_loss, probes=4000)
    for name, trace in expected.items():
        assert found[name] == pytest.approx(trace, rel=0.1)


def test_the_trace_of_a_quadratic_with_a_diagonal_hessian_is_exact_with_one_probe():
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    found = hessian_traces(model, [(x, torch.zeros(3, 1))], F.mse_loss, probes=1)
    assert found["0"] == pytest.approx(2 * (1 + 4 + 9) / 3, rel=1e-5)


def test_rises_are_trace_times_error():
    model = network()
    formats = {bits: Uniform(bits=bits) for bits in (2, 4)}
    traces = hessian_traces(model, [batch()], F.mse_loss, seed=3)
    rises = sensitivities(model, [batch()], F.mse_loss, formats, seed=3)
    weight = model[0].weight.detach()
    error = float((formats[2](weight) - weight).square().sum())
    assert rises["0"][2] == pytest.approx(traces["0"] / 12 * error / 2, rel=1e-5)


@pytest.mark.parametrize("budget", [200, 260, 333, 480, 10_000])
def test_allocation_is_the_best_of_all(budget):
    draws = torch.Generator().manual_seed(budget)
    names = "abcdef"
    sizes = {n: float(torch.randint(5, 40, (), generator=draws)) for n in names}
    rises = {
        n: {b: float(torch.rand((), generator=draws)) / b for b in (1, 2, 4, 8)} for n in names
    }
    best = min(
        (
            sum(rises[n][b] for n, b in zip(names, bits, strict=True))
            for bits in itertools.product((1, 2, 4, 8), repeat=6)
            if sum(sizes[n] * b for n, b in zip(names, bits, strict=True)) <= budget
        ),
        default=None,
    )
    found = allocate_bits(rises, sizes, budget)
    assert sum(sizes[n] * b for n, b in found.items()) <= budget
    assert sum(rises[n][b] for n, b in found.items()) == pytest.approx(best, abs=1e-9)


def test_bad_input():
    with pytest.raises(CompressError, match="the fewest bits take 20"):
        allocate_bits({"a": {2: 1.0}}, {"a": 10}, 5)
    with pytest.raises(DataError, match="no batch"):
        hessian_traces(network(), [], F.mse_loss)
