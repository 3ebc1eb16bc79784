"""Importance by what flows: the mean magnitude of an index's activations where they are used.

P. Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", 2017
(1611.06440), criterion "activation". Where activations are looked at follows from the axis, so it
is after the non-linearity and holds for any network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, fx

from supple.elastic._call import batch_size
from supple.elastic._cutting import owners
from supple.elastic.importance._base import (
    Normalise,
    Scores,
    calibration,
    check_normalise,
    normalised,
)
from supple.elastic.importance._gradients import in_evaluation
from supple.elastic.importance._recording import Recorder

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic
    from supple.trace import Analysis, Axis

__all__ = ["Activation"]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """Mean |activation| of an index at every call that uses up its axis, each call counting alike.

    A call uses up an axis if an input has it and the output does not: the next convolution or
    linear map, the scores of an attention, a mean over channels. The mean is over samples,
    positions and all that an index owns there. It is divided by its mean over the axis, and the
    calls are added. An axis that no call uses up, or that no activation has, gets zeros.

    Args:
        batches: ``(inputs, targets)`` pairs; the targets are not looked at.
        normalise: How axes are made comparable.
    """

    name: ClassVar[str] = "activation"

    batches: Iterable[tuple[Any, Any]]
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes."""
        batches = calibration(self.batches)
        recorder = Recorder(net)
        sites = _sites(net, recorder.graph)
        totals: dict[tuple[str, fx.Node], Tensor] = {}
        with in_evaluation(net):
            for inputs, _ in batches:
                _add(recorder, inputs, sites, totals, net.structure.analysis)
        scores = {axis.name: torch.zeros(axis.size).double() for axis in net.structure.axes}
        for value, uses in sites.items():
            for name, _, count in uses:
                total = totals[name, value]
                if total.sum() > 0:
                    scores[name] += count * total / total.mean()
        return Scores(axes=normalised(scores, self.normalise))


Use = tuple[str, "Axis", int]
"""Name and atom of an axis, and how many calls use it up in one value."""


def _sites(net: Elastic, graph: fx.Graph) -> dict[fx.Node, list[Use]]:
    """The values that calls take an axis from and do not give it on."""
    analysis = net.structure.analysis
    names = {axis.axis: axis.name for axis in net.structure.axes}
    moving = _depends_on_input(net, graph)
    counts: dict[tuple[fx.Node, Axis], int] = {}
    for node in graph.nodes:
        if node.op != "call_function" or analysis.values.get(node) is None:
            continue
        given = set(_atoms(analysis, node))
        for value in node.all_input_nodes:
            if value in moving and analysis.has_axes(value):
                for atom in dict.fromkeys(_atoms(analysis, value)):
                    if atom in names and atom not in given:
                        counts[value, atom] = counts.get((value, atom), 0) + 1
    sites: dict[fx.Node, list[Use]] = {}
    for (value, atom), count in counts.items():
        sites.setdefault(value, []).append((names[atom], atom, count))
    return sites


def _depends_on_input(net: Elastic, graph: fx.Graph) -> set[fx.Node]:
    """The calls whose values are not made of weights alone."""
    sources = next(one.sources for one in net.structure.analysis.captures if one.graph is graph)
    moving = {node for node, source in sources.items() if source.kind == "input"}
    for node in graph.nodes:
        if node.op == "call_function" and any(n in moving for n in node.all_input_nodes):
            moving.add(node)
    return {node for node in moving if node.op == "call_function"}


def _atoms(analysis: Analysis, node: fx.Node) -> Iterator[Axis]:
    value = analysis.values.get(node)
    for axes in value if isinstance(value, list) else [value or ()]:
        for axis in axes:
            yield from axis.atoms()


def _add(
    recorder: Recorder,
    inputs: Any,
    sites: dict[fx.Node, list[Use]],
    totals: dict[tuple[str, fx.Node], Tensor],
    analysis: Analysis,
) -> None:
    """Adds the mean magnitudes of one batch, weighted by its samples."""
    samples = batch_size(inputs)

    def visit(node: fx.Node, value: Tensor) -> None:
        for name, atom, _ in sites.get(node, ()):
            along = samples * _mean_magnitude(value, analysis.axes_of(node), atom)
            key = name, node
            totals[key] = totals[key] + along if key in totals else along

    recorder.run(inputs, visit)


def _mean_magnitude(value: Tensor, axes: tuple[Axis, ...], atom: Axis) -> Tensor:
    """For each index of an atom the mean over all that it owns in a tensor."""
    size = value.detach().abs().double()
    total, count = torch.zeros(atom.size).double(), torch.zeros(atom.size).double()
    for dim, axis in enumerate(axes):
        others = [d for d in range(size.ndim) if d != dim]
        along = (size.mean(others) if others else size).cpu()
        for owner in owners(axis, atom):
            inside = owner >= 0
            total.index_add_(0, owner[inside], along[inside])
            count.index_add_(0, owner[inside], torch.ones(int(inside.sum())).double())
    return total / count.clamp_min(1)
