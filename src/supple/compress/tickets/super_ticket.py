"""SuperTickets (paper 81): search the widths and prune the weights in one training.

While a network trains, a penalty on the scales of its batch norms shrinks channels that cost much
and give little; every so often those near zero are removed, and the smallest weights of what is
left are masked, more each time. The result needs no training of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from supple.compress.mask import (
    Masks,
    apply_masks,
    density,
    full_masks,
    masks_of,
    prunable,
    remove_masks,
)
from supple.compress.prune._pruner import Batch, Loss
from supple.compress.prune._structured import _FINE
from supple.compress.report import sparsity_report
from supple.compress.sparsity import check_ratio, masks_from_scores
from supple.elastic import Elastic
from supple.elastic._call import call
from supple.elastic.importance import Scores
from supple.elastic.training import Recipe, StepContext, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["BNScaleL1", "SuperTicket", "SuperTicketResult", "shrink", "transfer_masks"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@implements(81)
@dataclass(frozen=True, kw_only=True)
class BNScaleL1:
    """A training rule: the task's loss and an L1 penalty on the scales of batch norms.

    Attributes:
        rho: Weight of the penalty.
        warmup: Steps over which it grows from 0.
        costs: Price of a channel of each batch norm, by name of its scale; 1 for those that are not
            named.

    Example:
        >>> from torch import nn
        >>> from supple.compress.tickets import BNScaleL1
        >>> BNScaleL1(rho=1e-4).penalty(nn.BatchNorm1d(3)).item()
        3.0
    """

    name: ClassVar[str] = "bn_scale_l1"
    takes_teacher: ClassVar[bool] = False

    rho: float = 1.8e-4
    warmup: int = 0
    costs: tuple[tuple[str, float], ...] = ()

    def penalty(self, net: nn.Module) -> Tensor:
        """The sum of the absolute scales, each times the price of its channel."""
        prices = dict(self.costs)
        parts = [
            prices.get(f"{name}.weight".lstrip("."), 1.0) * module.weight.abs().sum()
            for name, module in net.named_modules()
            if isinstance(module, _NORMS) and module.affine
        ]
        if not parts:
            raise CompressError(
                f"{type(net).__name__} has no batch norm with a scale.",
                why="The scale is what tells whether a channel is needed.",
                hint="structured pruning by magnitude, prune(…, structured=True)",
            )
        return torch.stack(parts).sum()

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the loss with its penalty."""
        inputs, targets = batch
        rho = self.rho * min(1.0, step.step / self.warmup) if self.warmup else self.rho
        loss = step.loss(call(net, inputs), targets)
        yield loss + rho * self.penalty(net) if rho else loss


@implements(81)
def shrink(model: nn.Module, example: Any, *, threshold: float = 1e-3) -> nn.Module:
    """A copy without the channels whose batch-norm scales are all near zero.

    Exact where scale and shift are 0; otherwise what the shift adds to the next layer is lost,
    which further training mends. Every axis keeps its largest channel.

    Args:
        model: A network without masks.
        example: Inputs of one call.
        threshold: Scales below it count as zero.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.tickets import shrink
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        >>> _ = model[1].weight.data[:2].zero_()
        >>> shrink(model.eval(), torch.ones(3, 2))[0].out_features
        2
    """
    example = example if isinstance(example, (tuple, list, Mapping)) else (example,)
    training = model.training
    if all(m.num_features == 1 for m in model.modules() if isinstance(m, _NORMS)):
        return copy.deepcopy(model)  # nothing left to remove
    net = Elastic(model, example, _FINE)
    scales = {
        f"{name}.weight".lstrip("."): module.weight.detach().abs()
        for name, module in model.named_modules()
        if isinstance(module, _NORMS) and module.affine
    }
    wanted, scores = dict(net.space.largest), {}
    for axis in net.structure.axes:
        mine = [scales[m.tensor] for m in axis.members if m.tensor in scales]
        fitting = [scale for scale in mine if len(scale) == axis.size]
        if not mine or len(fitting) < len(mine) or axis.name not in net.space:
            continue
        largest = torch.stack(fitting).amax(0)
        scores[axis.name] = largest
        options = sorted(int(str(option)) for option in net.space[axis.name].options)
        count = max(1, int((largest >= threshold).sum()))
        wanted[axis.name] = next(option for option in options if option >= count)
    net.reorder(_Given(scores))
    small = net.extract(net.space.nearest(wanted))
    return small.train(training)


class _Given:
    """Scores that are known."""

    def __init__(self, axes: Mapping[str, Tensor]) -> None:
        self.axes = axes

    def scores(self, net: Elastic) -> Scores:
        """The scores."""
        return Scores(axes=self.axes)


@dataclass(frozen=True, kw_only=True)
class SuperTicketResult:
    """What a run gave.

    Attributes:
        network: The network, shrunk and masked, trained.
        ratios: Share of the weights masked after each event.
        macs: Multiplications of a sample with all weights of the structure, after each event.
    """

    network: nn.Module = field(repr=False)
    ratios: tuple[float, ...]
    macs: tuple[float, ...]

    @property
    def masks(self) -> dict[str, Tensor]:
        """The masks of the network."""
        return masks_of(self.network)


@implements(81)
@dataclass(frozen=True, kw_only=True)
class SuperTicket:
    """Joint search of widths and pruning of weights.

    After every ``every`` steps there is an event: channels near zero go, then the smallest weights
    of all layers together are masked, ``step`` more each time, up to ``ratio``. Masked weights keep
    their values and compete again at the next event (the paper's reactivation). The optimiser
    begins afresh after an event, the learning rate goes on.

    Attributes:
        ratio: Share of the weights masked at the end.
        step: Share that is added at each event.
        every: Steps between two events.
        rho: Weight of the penalty on scales; 0 searches no widths.
        threshold: Scales below it are removed.
        shrinks: Whether channels are removed.
        reactivates: Whether masked weights compete again.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.elastic.training import Recipe
        >>> from supple.compress.tickets import SuperTicket
        >>> from supple.elastic.training import Batches
        >>> x = torch.randn(64, 8)
        >>> data = Batches(x, (x[:, 0] > 0).long(), batch_size=16)
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        >>> search = SuperTicket(ratio=0.5, step=0.25, every=4)
        >>> found = search.run(model, data, nn.CrossEntropyLoss(), Recipe(epochs=4), example=x[:2])
        >>> found.ratios
        (0.25, 0.5, 0.5)
    """

    ratio: float = 0.9
    step: float = 0.1
    every: int = 100
    rho: float = 1.8e-4
    threshold: float = 1e-3
    shrinks: bool = True
    reactivates: bool = True

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if not 0 < self.step <= 1 or self.every < 1 or self.ratio == 1:
            raise CompressError(
                f"a super-ticket got ratio={self.ratio}, step={self.step}, every={self.every}.",
                hint="a ratio below 1, a step over 0, and events every 1 or more steps",
            )

    def run(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss,
        recipe: Recipe,
        *,
        example: Any,
        seed: int = 0,
    ) -> SuperTicketResult:
        """Train a copy of ``model`` for the whole recipe, with its events.

        Args:
            model: The network to begin with.
            data: A loader as `supple.elastic.training.train` takes it.
            loss: ``loss(outputs, targets)``.
            recipe: Of the one training.
            example: Inputs of one call.
            seed: Of the training.
        """
        network = remove_masks(copy.deepcopy(model), keep_zeros=False)
        network = apply_masks(network, full_masks(network))
        steps = recipe.total_steps(len(data))
        ratios: list[float] = []
        macs: list[float] = []
        for start in range(0, steps, self.every):
            rule = BNScaleL1(rho=self.rho, warmup=self.every, costs=self._costs(network, example))
            train(network, data, loss, rule, recipe, seed=seed, start=start,
                  stop=start + self.every)  # fmt: skip
            if start + self.every < steps:
                target = min(self.step * (len(ratios) + 1), self.ratio)
                network = self._event(network, example, target)
                ratios.append(1 - density(masks_of(network)))
                macs.append(sparsity_report(network, example).dense_macs or 0.0)
        return SuperTicketResult(network=network, ratios=tuple(ratios), macs=tuple(macs))

    def _costs(self, network: nn.Module, example: Any) -> tuple[tuple[str, float], ...]:
        """For each batch norm the multiplications of one of its channels, one on average."""
        if not self.rho:
            return ()
        return channel_costs(network, example)

    def _event(self, network: nn.Module, example: Any, ratio: float) -> nn.Module:
        masks: Masks | None = None if self.reactivates else masks_of(network)
        bare = remove_masks(copy.deepcopy(network), keep_zeros=not self.reactivates)
        if self.shrinks and self.rho:
            bare, masks = shrink(bare, example, threshold=self.threshold), None
        scores = {name: weight.detach().abs() for name, weight in prunable(bare).items()}
        if masks is not None:
            scores = {name: s.masked_fill(~masks[name], -1.0) for name, s in scores.items()}
        return apply_masks(bare, masks_from_scores(scores, ratio))


def channel_costs(network: nn.Module, example: Any) -> tuple[tuple[str, float], ...]:
    """What a channel of each batch norm costs in multiplications, on average 1 over all channels.

    The layer that gives the channels is the one that ran last before the batch norm.
    """
    report = sparsity_report(network, example)
    per_layer = {
        layer.name.rpartition(".")[0]: (layer.uses or 0.0) * layer.size / layer.shape[0]
        for layer in report.layers
    }
    last, costs = 1.0, {}
    sizes = {}
    for name, module in network.named_modules():
        last = per_layer.get(name, last)
        if isinstance(module, _NORMS) and module.affine:
            costs[f"{name}.weight".lstrip(".")] = last
            sizes[f"{name}.weight".lstrip(".")] = module.num_features
    mean = sum(costs[n] * sizes[n] for n in costs) / max(1, sum(sizes.values()))
    return tuple((name, cost / mean) for name, cost in costs.items())


@implements(81)
def transfer_masks(source: nn.Module, target: nn.Module) -> nn.Module:
    """Put the masks of one network on another with the same body, such as one with a new head.

    Weights that the source does not have, or has in another shape, stay whole.

    Args:
        source: A masked network.
        target: The network to mask, in place.

    Returns:
        The target.

    Raises:
        CompressError: No weight is in both.

    Example:
        >>> from torch import nn
        >>> from supple.compress.mask import masks_of
        >>> from supple.compress.tickets import transfer_masks
        >>> from supple.compress.prune import prune
        >>> old = prune(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), 0.5).network
        >>> new = transfer_masks(old, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 7)))
        >>> list(masks_of(new))
        ['0.weight']
    """
    weights = prunable(target)
    fitting = {
        name: mask
        for name, mask in masks_of(source).items()
        if name in weights and weights[name].shape == mask.shape
    }
    if not fitting:
        raise CompressError(
            "no mask of the source fits a weight of the target.",
            hint="a target with the same body, such as the source's network with a new head",
        )
    return apply_masks(target, fitting)
