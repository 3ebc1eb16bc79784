"""How stable training is (paper 123): against pruning, against the order of the data.

A network is stable where two trainings that differ in one thing end in the same valley: their
weights are near, and the loss does not rise on the line between them (linear mode connectivity).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from supple.compress.mask import Masks, load_plain_state, plain_state
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["interpolation_barrier", "weight_angle", "weight_distance"]

State = Mapping[str, Tensor]


@implements(123)
def weight_distance(first: State, second: State, *, masks: Masks, relative: bool = False) -> float:
    """The L2 distance of two networks over the weights that masks keep.

    With the trained full network and the trained ticket it is the stability to pruning; with two
    tickets trained on other orders of the data, the stability to data order.

    Args:
        first: Weights by name, as `supple.compress.mask.plain_state` gives them.
        second: The same of the other network.
        masks: What counts.
        relative: Divided by the norm of ``first`` over the same weights.

    Example:
        >>> import torch
        >>> from supple.compress.tickets import weight_distance
        >>> a = {"w": torch.tensor([3.0, 0.0])}
        >>> b = {"w": torch.tensor([0.0, 9.0])}
        >>> weight_distance(a, b, masks={"w": torch.tensor([True, False])})
        3.0
    """
    one, other = _vector(first, masks), _vector(second, masks)
    distance = float((one - other).norm())
    if not relative:
        return distance
    scale = float(one.norm())
    return distance / scale if scale else math.inf


@implements(123)
def weight_angle(first: State, second: State, *, masks: Masks) -> float:
    """The angle between two networks' weights that masks keep, in degrees.

    Example:
        >>> import torch
        >>> from supple.compress.tickets import weight_angle
        >>> a = {"w": torch.tensor([1.0, 0.0])}
        >>> b = {"w": torch.tensor([0.0, 2.0])}
        >>> round(weight_angle(a, b, masks={"w": torch.tensor([True, True])}), 6)
        90.0
    """
    one, other = _vector(first, masks), _vector(second, masks)
    lengths = float(one.norm() * other.norm())
    if not lengths:
        return math.nan
    return math.degrees(math.acos(max(-1.0, min(1.0, float(one @ other) / lengths))))


@implements(123)
def interpolation_barrier(
    model: nn.Module,
    first: State,
    second: State,
    error: Callable[[nn.Module], float],
    *,
    points: int = 11,
    renew: Callable[[nn.Module], object] | None = None,
) -> float:
    """How far the error rises on the line between two networks, over the mean of the ends.

    0 (or less) for networks in one valley. Frankle et al., 1912.05671, call it the instability when
    the two were trained from one state on different orders of the data.

    Args:
        model: A network, masked or not, that takes the weights; it is not changed.
        first: Weights by name.
        second: The same of the other network.
        error: Loss or error of a network, in evaluation mode.
        points: Points of the line, the ends included; at least 3.
        renew: Called with every network before it is looked at, such as a recalibration of batch
            norms, whose statistics mean nothing half way.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.tickets import interpolation_barrier
        >>> net = nn.Linear(1, 1, bias=False)
        >>> def error(m):  # two valleys, at -1 and 1
        ...     return (m.weight.item() ** 2 - 1) ** 2
        >>> ends = [{"weight": torch.tensor([[w]])} for w in (-1.0, 1.0)]
        >>> interpolation_barrier(net, *ends, error)
        1.0
    """
    if points < 3:
        raise CompressError(f"a line of {points} points was asked for.", hint="3 or more")
    twin = copy.deepcopy(model)
    if {*plain_state(twin)} != {*first} or {*first} != {*second}:
        raise CompressError(
            "two networks of other tensors than the model's were to be joined by a line.",
            hint="plain_state(network) of two trainings of this model",
        )
    errors = []
    for place in range(points):
        share = place / (points - 1)
        load_plain_state(twin, {name: _between(first[name], second[name], share) for name in first})
        if renew is not None:
            renew(twin)
        errors.append(float(error(twin.eval())))
    return max(errors) - (errors[0] + errors[-1]) / 2


def _between(a: Tensor, b: Tensor, share: float) -> Tensor:
    return torch.lerp(a, b, share) if a.is_floating_point() else (a if share < 0.5 else b)


def _vector(state: State, masks: Masks) -> Tensor:
    missing = [name for name in masks if name not in state]
    if missing:
        raise CompressError(
            f"there are masks for '{missing[0]}', which the state does not have.",
            hint="plain_state(network) of a network with these weights",
        )
    return torch.cat([state[name][mask].double() for name, mask in masks.items()])
