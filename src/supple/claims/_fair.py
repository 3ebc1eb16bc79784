"""Fair baselines: as many parameters, or as much time, as the method has."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from supple.claims._data import Data
from supple.claims._fit import fit
from supple.errors import ClaimError

__all__ = ["equal_time_epochs", "match_width", "parameters"]


def parameters(model: nn.Module, *, trainable: bool = True) -> int:
    """How many parameters a model has, by default those that are trained.

    Example:
        >>> import torch
        >>> parameters(torch.nn.Linear(4, 3))
        15
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def match_width(
    build: Callable[[int], nn.Module],
    target: int | nn.Module,
    *,
    low: int = 1,
    high: int = 4096,
    step: int = 1,
    tolerance: float = 0.05,
) -> int:
    """The width with which ``build(width)`` has the number of parameters nearest to the target's.

    Args:
        build: Makes a model; more width must mean more parameters. Built on the meta device, so
            that nothing is allocated or drawn.
        target: A number of parameters, or a model that has it.
        low: Smallest width.
        high: Largest width.
        step: Widths are multiples of this, such as a number of groups.
        tolerance: Largest difference, as a share of the target.

    Raises:
        ClaimError: No width comes within the tolerance.

    Example:
        >>> import torch
        >>> match_width(lambda width: torch.nn.Linear(9, width), 205)
        20
    """
    wanted = parameters(target) if isinstance(target, nn.Module) else target

    def count(place: int) -> int:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return parameters(build(place * step))

    first, last = -(-low // step), high // step
    while last - first > 1:
        middle = (first + last) // 2
        if count(middle) <= wanted:
            first = middle
        else:
            last = middle
    best = min((first, last), key=lambda place: abs(count(place) - wanted))
    if abs(count(best) - wanted) > tolerance * wanted:
        raise ClaimError(
            f"no width gives {wanted} parameters: {best * step} gives {count(best)}.",
            why=f"That is further off than {tolerance:.0%}.",
            hint="a larger tolerance, or another depth.",
        )
    return best * step


def equal_time_epochs(
    models: Mapping[str, nn.Module],
    data: Data,
    *,
    reference: str,
    epochs: float,
    **settings: object,
) -> dict[str, float]:
    """How many epochs each arm can train in the time ``reference`` takes for ``epochs``.

    Each model is copied and trained for a short while, in turns, and its fastest turn counts: other
    work on the machine only ever slows. What this gives depends on the machine and its load; a
    claim that uses it reports the epochs.

    Args:
        models: The untrained models by arm; they are not changed.
        data: What they will be trained on.
        reference: The arm whose time the others get.
        epochs: What that arm trains for.
        **settings: Arguments of :func:`fit` other than epochs, lr and seed.
    """
    seconds = dict.fromkeys(models, float("inf"))
    for _ in range(3):
        for arm, model in models.items():
            began = time.perf_counter()
            fit(copy.deepcopy(model), data, epochs=0.5, lr=1e-4, seed=0, **settings)  # type: ignore[arg-type]
            seconds[arm] = min(seconds[arm], time.perf_counter() - began)
    return {arm: epochs * seconds[reference] / took for arm, took in seconds.items()}
