"""Fitting a module to given outputs: Gauss-Newton, its linear systems solved without a matrix.

A module that is linear in its weights (a KAN, random features, a sum of bases) is solved by the
first step; others improve from step to step, and a step that does not help is shortened or
dropped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["fit_to", "relative_error"]

Function = Callable[[Tensor], Tensor]


def relative_error(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """``|module(x) - y| / |y|``."""
    with torch.no_grad():
        return float((module(x) - y).norm() / y.norm().clamp_min(1e-30))


def fit_to(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 3,
    solves: int = 40,
    ridge: float = 1e-4,
) -> None:
    """Moves the weights so that ``module(x)`` comes near ``y``; never farther than it was.

    Args:
        module: In evaluation mode; its parameters are changed in place.
        x: Inputs.
        y: Outputs to reach.
        steps: Gauss-Newton steps.
        solves: Steps of conjugate gradients within each.
        ridge: Damping, relative to the size of the gradient's curvature.
    """
    weights = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
    if not weights:
        return
    names, shapes = list(weights), [w.shape for w in weights.values()]
    sizes = [w.numel() for w in weights.values()]
    buffers = dict(module.named_buffers())

    def outputs(flat: Tensor) -> Tensor:
        parts = [p.reshape(s) for p, s in zip(torch.split(flat, sizes), shapes, strict=True)]
        state = dict(zip(names, parts, strict=True))
        result: Tensor = torch.func.functional_call(module, {**buffers, **state}, (x,))
        return result

    flat = torch.cat([w.flatten() for w in weights.values()])
    error = float((outputs(flat) - y).norm().detach())
    for _ in range(steps):
        moved = _step(outputs, flat, y, error, solves, ridge)
        if moved is None:
            break
        flat, before, error = moved[0], error, moved[1]
        if error > 0.99 * before:
            break
    with torch.no_grad():
        parameters = dict(module.named_parameters())
        for name, part, shape in zip(names, torch.split(flat, sizes), shapes, strict=True):
            parameters[name].copy_(part.reshape(shape))


def _step(
    function: Function, flat: Tensor, y: Tensor, error: float, solves: int, ridge: float
) -> tuple[Tensor, float] | None:
    """One step, halved up to four times; None if none helps."""
    result, pull = torch.func.vjp(function, flat)  # type: ignore[misc]
    (goal,) = pull(y - result)

    # The derivative along v, as the derivative of the pull-back, which is linear.
    _, push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))  # type: ignore[misc]

    def curved(v: Tensor) -> Tensor:
        back: Tensor = pull(push(v)[0])[0]
        return back

    scale = float((goal @ curved(goal)) / (goal @ goal).clamp_min(1e-30))
    direction = _solve(lambda v: curved(v) + ridge * scale * v, goal, solves)
    for halvings in range(5):
        there = (flat + direction / 2**halvings).detach()
        with torch.no_grad():
            now = float((function(there) - y).norm())
        if now < error:
            return there, now
    return None


def _solve(operator: Function, goal: Tensor, steps: int) -> Tensor:
    """Conjugate gradients for a symmetric positive operator."""
    solution = torch.zeros_like(goal)
    rest, direction = goal.clone(), goal.clone()
    size = rest @ rest
    floor = 1e-12 * float(size)
    for _ in range(steps):
        if float(size) <= floor:
            break
        turned: Tensor = operator(direction)
        length = size / (direction @ turned).clamp_min(1e-30)
        solution = solution + length * direction
        rest = rest - length * turned
        before, size = size, rest @ rest
        direction = rest + (size / before) * direction
    return solution.detach()
