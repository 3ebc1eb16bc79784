"""What a scorer is, the sum over everything that an axis cuts, and what makes axes comparable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from supple.elastic._cutting import owners
from supple.errors import DataError, TrainingError, near_misses

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = [
    "Loss",
    "Normalise",
    "Scorer",
    "Scores",
    "add_groups",
    "calibration",
    "check_normalise",
    "normalised",
    "sum_over_group",
]

Normalise = Literal["none", "mean", "max", "standard"]
"""How the scores of one axis are brought to the scale of the others.

``mean`` and ``max`` divide them by their mean and largest magnitude, ``standard`` subtracts the
mean and divides by the standard deviation. The order along an axis stays what it is.
"""

Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets)``, a scalar."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Importance of indices and blocks.

    Args:
        axes: For each axis (by name) one number for each index, larger is more important.
        blocks: For some stages (by name) the positions of their blocks, the one to keep longest
            first.
    """

    axes: Mapping[str, Tensor]
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Scorer(Protocol):
    """Gives the importance of every index of every elastic axis."""

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, in the order its indices are stored now."""
        ...


def sum_over_group(net: Elastic, values: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """For every axis and every tensor that it cuts, the sum of ``values`` at each index.

    Args:
        net: The network whose axes are meant.
        values: One number for each element of some stored tensors, by canonical name.

    Returns:
        By axis name and tensor name, a vector as long as the axis.
    """
    structure = net.structure
    sums: dict[str, dict[str, Tensor]] = {}
    for axis in structure.axes:
        mine = sums.setdefault(axis.name, {})
        for member in axis.members:
            if member.tensor not in values:
                continue
            value = values[member.tensor]
            others = [d for d in range(value.ndim) if d != member.dim]
            along = (value.sum(others) if others else value).cpu()
            dimension = structure.analysis.stored[member.tensor][member.dim]
            total = mine.setdefault(member.tensor, torch.zeros(axis.size, dtype=value.dtype))
            for owner in owners(dimension, axis.axis):
                inside = owner >= 0
                total.index_add_(0, owner[inside], along[inside])
    return sums


def add_groups(net: Elastic, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For every axis the sum of ``values`` over all that an index owns, in all tensors."""
    sums = sum_over_group(net, values)
    return {
        axis.name: sum(sums[axis.name].values(), torch.zeros(axis.size).double())
        for axis in net.structure.axes
    }


def check_normalise(how: str) -> None:
    """Raises TrainingError for a way to normalise that does not exist."""
    known = get_args(Normalise)
    if how not in known:
        raise TrainingError(
            f"There is no way to normalise importance called '{how}'.",
            why=f"Known are {', '.join(known)}.",
            hint=near_misses(how, known),
            normalise=how,
        )


def normalised(scores: Mapping[str, Tensor], how: Normalise) -> dict[str, Tensor]:
    """The scores of all axes on one scale.

    Args:
        scores: By axis name.
        how: See `Normalise`; an axis whose scores are all alike gives zeros for ``standard``, and
            one of zeros stays so.
    """
    check_normalise(how)
    return {name: _scaled(score, how) for name, score in scores.items()}


def _scaled(score: Tensor, how: Normalise) -> Tensor:
    if how == "none" or not score.numel():
        return score
    if how == "standard":
        score = score - score.mean()
        scale = score.square().mean().sqrt()
    else:
        size = score.abs()
        scale = size.mean() if how == "mean" else size.max()
    # Not clamped: a network trained to tiny weights has tiny scores.
    return score / scale if scale > 0 else torch.zeros_like(score)


def calibration(batches: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The calibration batches.

    Raises:
        DataError: There is none.
    """
    found = list(batches)
    if not found:
        raise DataError(
            "the calibration data is empty.", hint="pass at least one (inputs, targets) batch."
        )
    return found
