"""Bits per layer: how sensitive each layer is, and the best choice of bits within a budget.

Z. Dong et al., "HAWQ-V2" (1911.03852), in the survey 2103.13630, section IV.B: the loss rises by
about tr(H) / n · |Q_b(W) - W|^2 / 2 when a layer's weight W goes to b bits, tr(H) / n being the
mean of the Hessian's diagonal. Bits are then an integer programme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from supple.compress.quantize._quantizer import Quantizer
from supple.compress.quantize.network import quantizable_layers
from supple.elastic._call import call, evaluating
from supple.errors import CompressError, DataError, TrainingError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["allocate_bits", "average_bits", "hessian_traces", "sensitivities"]

Loss = Callable[[Any, Any], Tensor]


def hessian_traces(
    network: nn.Module,
    batches: Iterable[tuple[Any, Any]],
    loss: Loss,
    *,
    names: Iterable[str] | None = None,
    probes: int = 8,
    seed: int = 0,
) -> dict[str, float]:
    """The trace of the Hessian of the loss for each layer's weight, by Hutchinson's estimator.

    E[z · H z] over vectors z of random signs is the trace; its variance falls as 1 / probes. The
    signs are drawn for all layers together, which is exact in expectation and costs one product.

    Args:
        network: Run in eval mode; nothing of it changes.
        batches: ``(inputs, targets)``; the trace is of the mean loss over them.
        loss: ``loss(outputs, targets)``, a scalar.
        names: Layers; all that `quantizable_layers` finds by default.
        probes: Random vectors for each batch.
        seed: Of the vectors.

    Raises:
        DataError: There is no batch.
        TrainingError: A part has no second derivative.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import hessian_traces
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
        >>> batch = (torch.eye(2), torch.zeros(2, 1))
        >>> traces = hessian_traces(network, [batch], torch.nn.functional.mse_loss)
        >>> round(traces["0"], 4)
        2.0
    """
    layers = quantizable_layers(network)
    weights = {name: layers[name].weight for name in (names or layers)}
    totals, count = dict.fromkeys(weights, 0.0), 0
    draws = torch_generator(seed, "hessian traces")
    with evaluating(network), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for inputs, targets in batches:
            value = loss(call(network, inputs), targets)
            for name, total in _traces(value, weights, probes, draws).items():
                totals[name] += total
            count += 1
    if not count:
        raise DataError("the sensitivity has no batch.", hint="one (inputs, targets) or more.")
    return {name: total / count for name, total in totals.items()}


def _traces(
    value: Tensor, weights: Mapping[str, Any], probes: int, draws: torch.Generator
) -> dict[str, float]:
    names = list(weights)
    try:
        gradients = torch.autograd.grad(
            value, [weights[n] for n in names], create_graph=True, allow_unused=True
        )
        curved = {
            n: g for n, g in zip(names, gradients, strict=True) if g is not None and g.requires_grad
        }
        totals = dict.fromkeys(curved, 0.0)
        for _ in range(probes if curved else 0):
            signs = [
                (torch.randint(0, 2, g.shape, generator=draws) * 2 - 1).to(g)
                for g in curved.values()
            ]
            products = torch.autograd.grad(
                list(curved.values()), [weights[n] for n in curved], signs,
                retain_graph=True, allow_unused=True,
            )  # fmt: skip
            for name, sign, product in zip(curved, signs, products, strict=True):
                if product is not None:
                    totals[name] += float((sign.double() * product.double()).sum()) / probes
    except (RuntimeError, NotImplementedError) as error:
        raise TrainingError(
            f"the Hessian cannot be estimated: {str(error).splitlines()[0]}",
            why="Some part of the network or of the loss has no second derivative in torch.",
            hint="use the same bits everywhere, or leave that layer out with names=…",
        ) from error
    return totals


@implements(61)
def sensitivities(
    network: nn.Module,
    batches: Iterable[tuple[Any, Any]],
    loss: Loss,
    formats: Mapping[int, Quantizer],
    *,
    probes: int = 8,
    seed: int = 0,
) -> dict[str, dict[int, float]]:
    """How much the loss rises, to second order, for each layer and each number of bits.

    Args:
        network: A trained network; it is not changed.
        batches: ``(inputs, targets)``.
        loss: ``loss(outputs, targets)``, a scalar.
        formats: A quantizer for each number of bits.
        probes: See `hessian_traces`.
        seed: See `hessian_traces`.

    Returns:
        Layer -> bits -> rise; negative traces, which only an unfinished training has, count as 0.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import sensitivities, Uniform
        >>> network = torch.nn.Sequential(torch.nn.Linear(8, 4))
        >>> batch = (torch.eye(8), torch.zeros(8, 4))
        >>> formats = {bits: Uniform(bits=bits) for bits in (2, 8)}
        >>> rise = sensitivities(network, [batch], torch.nn.functional.mse_loss, formats)["0"]
        >>> rise[2] > rise[8]
        True
    """
    layers = quantizable_layers(network)
    traces = hessian_traces(network, batches, loss, probes=probes, seed=seed)
    found: dict[str, dict[int, float]] = {}
    for name, trace in traces.items():
        weight: Any = layers[name].weight
        weight = weight.detach()
        error = {
            bits: float((one.quantized(weight) - weight).double().square().sum())
            for bits, one in formats.items()
        }
        mean = max(0.0, trace) / weight.numel()
        found[name] = {bits: mean * size / 2 for bits, size in error.items()}
    return found


@implements(61)
def allocate_bits(
    rises: Mapping[str, Mapping[int, float]],
    sizes: Mapping[str, float],
    budget: float,
) -> dict[str, int]:
    """The bits per layer with the least sum of rises whose size is within the budget.

    An integer programme, solved exactly.

    Args:
        rises: Layer -> bits -> what it costs, as `sensitivities` gives.
        sizes: Layer -> weights, or multiply-adds: a layer at b bits takes ``b · size``.
        budget: Most bits in total.

    Raises:
        CompressError: Even the fewest bits everywhere are more than the budget.

    Example:
        >>> from supple.compress.quantize import allocate_bits
        >>> rises = {"a": {2: 9.0, 8: 0.0}, "b": {2: 1.0, 8: 0.0}}
        >>> allocate_bits(rises, {"a": 10, "b": 10}, budget=100)
        {'a': 8, 'b': 2}
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(layer, bits) for layer, options in rises.items() for bits in options]
    least = sum(min(options) * sizes[layer] for layer, options in rises.items())
    if least > budget:
        raise CompressError(
            f"a budget of {budget:g} bits was asked for; the fewest bits take {least:g}.",
            hint="a larger budget, or formats of fewer bits.",
            budget=budget,
            least=least,
        )
    cost = np.array([rises[layer][bits] for layer, bits in pairs])
    size = np.array([[bits * sizes[layer] for layer, bits in pairs]], dtype=float)
    one_each = np.array([[float(layer == name) for layer, _ in pairs] for name in rises])
    # Scaled, for the solver's tolerances are absolute.
    solved = milp(
        cost / max(cost.max(), 1e-300),
        constraints=[
            LinearConstraint(size / max(budget, 1e-300), ub=[1.0]),
            LinearConstraint(one_each, lb=1, ub=1),
        ],
        integrality=np.ones(len(pairs)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert solved.x is not None, solved.message
    return {layer: bits for (layer, bits), x in zip(pairs, solved.x, strict=True) if x > 0.5}


def average_bits(bits: Mapping[str, int], sizes: Mapping[str, float]) -> float:
    """Bits per weight of an allocation."""
    names: Sequence[str] = list(bits)
    return sum(bits[n] * sizes[n] for n in names) / sum(sizes[n] for n in names)
