"""Structured pruning for what is deployed: of several cuts of one size, the least harmful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from supple.compress.prune._prune import Pruned
from supple.compress.prune._pruner import Batch, Loss, batches_of
from supple.compress.prune._structured import _largest_below, _levels, parameters_at
from supple.compress.report import sparsity_report
from supple.elastic import Elastic, Elasticity
from supple.elastic._call import call
from supple.elastic.batch_norm import recalibrate
from supple.elastic.importance import Scores, scorer
from supple.errors import TraceError
from supple.space import Config

__all__ = ["chosen_cut", "stream_axes"]

_METHODS = ("magnitude", "taylor")


def chosen_cut(
    model: nn.Module,
    ratio: float,
    *,
    example: Any,
    batches: Sequence[Batch],
    loss: Loss,
    seed: int = 0,
    multiple_of: int = 8,
) -> Pruned:
    """Cut a share of the parameters in four ways and keep what has the lowest loss.

    By magnitude and by Taylor expansion; through the residual streams too, or inside of the blocks
    only. Half of the batches score and calibrate batch norms, the other half decides. Widths are
    kept at multiples that processors compute in; where that misses the share, or removes a tenth
    more of what is to stay, at any.

    Args:
        model: Any module that can be traced; it is not changed.
        ratio: Share of the parameters to remove.
        example: Inputs of one call.
        batches: ``(inputs, targets)``, two at least to decide on others than are scored with.
        loss: ``loss(outputs, targets)``.
        seed: Of the scorers.
        multiple_of: What widths are multiples of.
    """
    example = example if isinstance(example, (tuple, list, Mapping)) else (example,)
    batches = batches_of(batches, "taylor")
    half = max(1, len(batches) // 2)
    before = sum(p.numel() for p in model.parameters())
    for multiple in dict.fromkeys((multiple_of, 1)):
        ratios = tuple(i / 32 for i in range(1, 33))
        fineness = Elasticity(ratios=ratios, multiple_of=multiple, depths=False, kernels=False)
        try:
            net = Elastic(model, example, fineness)
        except TraceError:
            if multiple == 1:
                raise
            continue  # nothing is as wide as two multiples
        target = (1 - ratio) * parameters_at(net, net.space.largest) + 1e-9
        least = 0.9 * target if multiple > 1 else 0.0
        tried = _tried(net, least, target, batches[:half], batches[half:] or batches, loss, seed)
        if (best := min(tried, key=lambda cut: cut.loss, default=None)) is not None:
            break
    else:
        smallest = net.space.smallest
        best = _Cut(loss=0.0, network=net.extract(smallest), config=smallest, how="everywhere")
    after = sum(p.numel() for p in best.network.parameters())
    return Pruned(
        network=best.network, report=sparsity_report(best.network, example),
        parameters_before=before, parameters_after=after, config=best.config,
        notes=_notes(best.how, multiple, 1 - after / before, ratio),
    )  # fmt: skip


def stream_axes(net: Elastic) -> frozenset[str]:
    """The axes that a residual sum passes on: cut, they change every block of their stage.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.elastic import Elastic
        >>> from supple.compress.prune._chosen_cut import stream_axes
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)
        ...     def forward(self, x):
        ...         return x + self.down(self.up(x).relu())
        >>> model = nn.Sequential(nn.Linear(4, 8), Block(), nn.Linear(8, 2))
        >>> net = Elastic(model, (torch.ones(2, 4),))
        >>> sorted(stream_axes(net))
        ['0.width']
    """
    analysis = net.structure.analysis
    passed = {
        atom
        for stage in net.structure.stages
        for block in stage.blocks
        for branch in block.branches
        for axis in analysis.axes_of(branch.join)
        for atom in axis.atoms()
    }
    return frozenset(axis.name for axis in net.structure.axes if axis.axis in passed)


@dataclass(frozen=True)
class _Known:
    """A scorer whose scores are there already; thresholds need them in no order."""

    found: Scores

    def scores(self, net: Elastic) -> Scores:
        return self.found


@dataclass(frozen=True)
class _Cut:
    loss: float
    network: nn.Module
    config: Config
    how: str


def _tried(
    net: Elastic,
    least: float,
    target: float,
    scored: Sequence[Batch],
    held: Sequence[Batch],
    loss: Loss,
    seed: int,
) -> Iterator[_Cut]:
    """The largest cut of a size in the range by each method, with and without the streams."""
    stream = stream_axes(net) & set(net.space)
    for method in _METHODS:
        settings = {"order_blocks": False} if method == "taylor" else {}
        made = scorer(
            method, batches=scored, loss=loss, seed=seed, normalise="mean", **settings
        ).scores(net)
        net.reorder(_Known(made))
        scores = {name: score for name, score in made.axes.items() if name in net.space}
        for whole in dict.fromkeys((frozenset(), stream)):
            some = {name: score for name, score in scores.items() if name not in whole}
            if not some:
                continue
            config = _largest_below(net, some, _levels(some), target)
            if not least <= parameters_at(net, config) <= target:
                continue
            network = net.extract(config)
            recalibrate(network, scored)
            network.eval()
            with torch.no_grad():
                total = sum(float(loss(call(network, x), y)) for x, y in held)
            where = "inside of the blocks" if whole else "in all axes"
            yield _Cut(total / len(held), network, config, f"{where}, by {method}")


def _notes(how: str, multiple: int, found: float, ratio: float) -> tuple[str, ...]:
    sizes = f"widths are multiples of {multiple}" if multiple > 1 else "widths are any number"
    notes = [f"Cut {how}; {sizes}."]
    if found < ratio - 1e-9:
        notes.append(
            f"{found:.1%} of the parameters were removed, not {ratio:.1%}: every axis keeps at "
            "least its smallest option."
        )
    return tuple(notes)
