"""Iterative feature merging (paper 64): channels that can stand for each other become one.

Two channels that compute the same may be replaced by one whose outgoing weights are the sum of
theirs. Merging the nearest channels of every layer, again and again until they differ too much,
prunes a network without data; how many are left is the layer's feature complexity.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic import Elastic, Elasticity
from supple.elastic._cutting import owners
from supple.elastic.importance import Scores
from supple.errors import CompressError
from supple.papers import implements
from supple.trace import ElasticAxis

__all__ = ["Merged", "feature_complexity", "merge_channels"]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A network with merged channels.

    Attributes:
        network: The smaller network, a plain module.
        groups: For each layer's axis, the channels that became one, in order.
        left_whole: Axes that were not merged, and why.
    """

    network: nn.Module = field(repr=False)
    groups: Mapping[str, tuple[tuple[int, ...], ...]]
    left_whole: Mapping[str, str]

    @property
    def complexity(self) -> dict[str, int]:
        """Channels left of each axis."""
        return {name: len(groups) for name, groups in self.groups.items()}


@implements(64)
def merge_channels(
    model: nn.Module,
    example: Any,
    *,
    beta: float = 0.1,
    most: float = 1.0,
    normalised: bool = False,
) -> Merged:
    """Merge the channels that are alike. Needs no data, trains nothing, leaves the model alone.

    A channel is described by all entries of tensors with two or more dimensions that it owns,
    incoming and outgoing; layers that share a residual stream share their channels. In each sweep
    every axis merges its nearest pair, unless their squared distance is over ``beta`` times the
    largest of the axis.

    What comes in is averaged, weighted by the channels merged before, and what goes out is summed:
    exact for equal channels and any elementwise function, with batch norms too. (The authors' code
    sums what comes in and averages what goes out, which is exact for ReLU without batch norm only.)

    Args:
        model: A network of linear layers and plain convolutions.
        example: Inputs of one call.
        beta: From 0 (only equal channels) to 1 (all of them).
        most: Largest share of an axis' channels that is merged away.
        normalised: Whether channels are compared at equal norms of what comes in, the norm moved to
            what goes out, as ReLU allows. For the comparison only.

    Raises:
        CompressError: ``beta`` or ``most`` is not in 0 to 1.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import merge_channels
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> with torch.no_grad():
        ...     for tensor in (model[0].weight, model[0].bias, model[2].weight.T):
        ...         _ = tensor[3].copy_(tensor[1])
        >>> merge_channels(model, torch.ones(1, 3), beta=0.0).groups
        {'0.width': ((0,), (1, 3), (2,))}
    """
    for name, value in (("beta", beta), ("most", most)):
        if not 0 <= value <= 1:
            raise CompressError(f"merging got {name}={value}.", hint="a number from 0 to 1")
    net = _fine(model, example)
    layers, left_whole = _layers(net, model)
    while True:
        merged = [layer.merge_nearest(beta, most, normalised) for layer in layers]
        if not any(merged):
            break
    return Merged(
        network=_smaller(net, layers),
        groups={layer.axis.name: layer.groups() for layer in layers},
        left_whole=left_whole,
    )


@implements(64)
def feature_complexity(
    model: nn.Module, example: Any, betas: Sequence[float] = (0.01, 0.03, 0.1, 0.3)
) -> dict[str, list[int]]:
    """How many distinct features each layer has: the channels left, for each ``beta``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import feature_complexity
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> feature_complexity(model, torch.ones(1, 3), (0.0, 1.0))
        {'0.width': [4, 1]}
    """
    found: dict[str, list[int]] = {}
    for beta in betas:
        for name, left in merge_channels(model, example, beta=beta).complexity.items():
            found.setdefault(name, []).append(left)
    return found


def _fine(model: nn.Module, example: Any) -> Elastic:
    """Elastic in every single channel."""
    example = example if isinstance(example, (tuple, list, Mapping)) else (example,)
    size = max(max(p.shape) for p in model.parameters() if p.dim())
    ratios = tuple(i / size for i in range(1, size + 1))
    return Elastic(
        copy.deepcopy(model), example,
        Elasticity(ratios=ratios, multiple_of=1, depths=False, kernels=False),
    )  # fmt: skip


_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _layers(net: Elastic, model: nn.Module) -> tuple[list[_Layer], dict[str, str]]:
    """The axes whose channels can be merged, and why the others cannot."""
    modules = dict(model.named_modules())
    found, left_whole = [], {}
    for axis in net.structure.axes:
        reason = _obstacle(net, axis, modules)
        if reason:
            left_whole[axis.name] = reason
        else:
            found.append(_Layer(net, axis))
    return found, left_whole


def _obstacle(net: Elastic, axis: ElasticAxis, modules: Mapping[str, nn.Module]) -> str:
    if axis.name not in net.space:
        return "its width is no choice"
    dims: dict[str, set[int]] = {}
    for member in axis.members:
        dims.setdefault(member.tensor, set()).add(member.dim)
        module = modules.get(member.tensor.rpartition(".")[0])
        if not isinstance(module, (*_KINDS, *_NORMS)):
            return f"'{member.tensor}' is of a {type(module).__name__}"
        if getattr(module, "groups", 1) != 1:
            return f"'{member.tensor}' is of a grouped convolution"
        if member.dim > 1:
            return f"it is a size of the kernel of '{member.tensor}'"
    if any(len(both) > 1 for both in dims.values()):
        return "a weight leads from the axis to itself"
    return ""


class _Layer:
    """The channels of one axis while they are merged."""

    def __init__(self, net: Elastic, axis: ElasticAxis) -> None:
        self.net, self.axis = net, axis
        self.labels = list(range(axis.size))
        self.counts = [1] * axis.size
        # (tensor, dimension, for each channel its positions, whether it is summed)
        self.members: list[tuple[str, int, Tensor, bool]] = []
        for member in axis.members:
            dimension = net.structure.analysis.stored[member.tensor][member.dim]
            for owner in owners(dimension, axis.axis):
                order = torch.sort(owner, stable=True).indices[int((owner < 0).sum()) :]
                rows = order.reshape(axis.size, -1)
                self.members.append((member.tensor, member.dim, rows, member.dim == 1))

    def alive(self) -> list[int]:
        """One channel of each group."""
        return [i for i, count in enumerate(self.counts) if count]

    def vectors(self, normalised: bool) -> Tensor:
        """One row for each channel: all it owns in tensors of two dimensions or more.

        What goes out of a merged channel is divided by the channels it stands for.
        """
        tensors = self.net.tensors()
        counts = torch.tensor(self.counts).clamp_min(1).double()[:, None]
        parts: dict[bool, list[Tensor]] = {False: [], True: []}
        for name, dim, rows, is_out in self.members:
            tensor = tensors[name].detach().double()
            if tensor.dim() >= 2:
                moved = tensor.movedim(dim, 0)[rows.flatten()]
                own = moved.reshape(self.axis.size, -1)
                parts[is_out].append(own / counts if is_out else own)
        if normalised and parts[False] and parts[True]:
            norm = torch.cat(parts[False], 1).norm(dim=1, keepdim=True).clamp_min(1e-12)
            parts = {False: [p / norm for p in parts[False]], True: [p * norm for p in parts[True]]}
        return torch.cat([*parts[False], *parts[True]], 1)

    def merge_nearest(self, beta: float, most: float, normalised: bool) -> bool:
        """Merge the nearest pair, if it is near enough; whether it was."""
        alive = self.alive()
        if len(alive) == 1 or self.axis.size - len(alive) + 1 > most * self.axis.size:
            return False
        rows = self.vectors(normalised)[alive]
        distance = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square()
        largest = float(distance.max())
        distance.fill_diagonal_(torch.inf)
        place = int(distance.argmin())
        first, second = sorted(divmod(place, len(alive)))
        if float(distance.flatten()[place]) > beta * largest:
            return False
        self._merge(alive[first], alive[second])
        return True

    @torch.no_grad()
    def _merge(self, into: int, gone: int) -> None:
        tensors = self.net.tensors()
        a, b = self.counts[into], self.counts[gone]
        for name, dim, rows, is_out in self.members:
            channels = tensors[name].movedim(dim, 0)
            one, other = channels[rows[into]], channels[rows[gone]]
            both = one + other if is_out else (a * one + b * other) / (a + b)
            channels[rows[into]] = both
            channels[rows[gone]] = torch.zeros_like(other) if is_out else other
        self.counts[into], self.counts[gone] = a + b, 0
        self.labels = [into if label == gone else label for label in self.labels]

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The channels of each group, in order."""
        return tuple(
            tuple(i for i, label in enumerate(self.labels) if label == one) for one in self.alive()
        )


def _smaller(net: Elastic, layers: Sequence[_Layer]) -> nn.Module:
    """The network of one channel for each group."""
    scores = {axis.name: torch.zeros(axis.size) for axis in net.structure.axes}
    wanted = dict(net.space.largest)
    for layer in layers:
        scores[layer.axis.name] = torch.tensor([float(count > 0) for count in layer.counts])
        wanted[layer.axis.name] = len(layer.alive())
    net.reorder(_Given(scores))
    return net.extract(net.space.validate(wanted))


class _Given:
    """Scores that are known."""

    def __init__(self, axes: Mapping[str, Tensor]) -> None:
        self.axes = axes

    def scores(self, net: Elastic) -> Scores:
        """The scores."""
        return Scores(axes=self.axes)
