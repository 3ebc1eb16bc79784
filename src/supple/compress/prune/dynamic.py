"""Dynamic sparse training: a network stays sparse, and its connections move while it trains.

Every so many steps each layer drops some connections and grows as many that were absent. Which
ones is all that the methods differ in: SET (1707.04780), RigL (1911.11134), and the Hebbian rule
of group-to-group networks (paper 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from supple.compress.mask import WeightMask, mask_parts, prunable
from supple.compress.prune._hebbian import correlations
from supple.compress.prune._pruner import Batch, gradients, unmasked_copy
from supple.compress.sparsity import check_ratio
from supple.elastic._call import call
from supple.elastic.training import StepContext
from supple.errors import CompressError, near_misses
from supple.papers import implements

__all__ = ["DynamicSparse"]

Drop = Literal["magnitude", "random", "hebbian"]
Grow = Literal["random", "gradient", "hebbian"]

Scorer = Callable[[], dict[str, Tensor]]


@implements(8, 116)
@dataclass(frozen=True, kw_only=True)
class DynamicSparse:
    """A training rule: the task's loss on a masked network whose masks change on the way.

    The number of weights of every layer stays what it is. A connection that grows was absent
    before, is not one just dropped, and starts at 0. State is in the masks alone, so a checkpoint
    of the training holds it.

    Attributes:
        drop: Which go: the smallest weights, random ones, or those whose ends correlate least.
        grow: Which come: random ones, those with the largest gradient, or those whose ends
            correlate most.
        fraction: Share of a layer's connections that move.
        every: Steps between two updates.
        stop: The step after which nothing moves any more; until then the fraction falls along
            half a cosine. None: it stays as it is to the end.

    Example:
        >>> from supple.compress.prune import DynamicSparse
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import prune
        >>> from supple.elastic.training import Batches, Recipe, train
        >>> x, y = torch.randn(64, 8), torch.randint(3, (64,))
        >>> net = prune(nn.Linear(8, 3), 0.75, method="random").network
        >>> rule = DynamicSparse(grow="gradient", every=5)
        >>> log = train(net, Batches(x, y, batch_size=16), nn.CrossEntropyLoss(), rule,
        ...             Recipe(epochs=5))
        >>> int((net.weight != 0).sum())
        6
    """

    name: ClassVar[str] = "dynamic_sparse"
    takes_teacher: ClassVar[bool] = False

    drop: Drop = "magnitude"
    grow: Grow = "random"
    fraction: float = 0.3
    every: int = 100
    stop: int | None = None

    def __post_init__(self) -> None:
        check_ratio(self.fraction, "fraction")
        for field, known in (("drop", get_args(Drop)), ("grow", get_args(Grow))):
            if getattr(self, field) not in known:
                raise CompressError(
                    f"dynamic sparse training got {field}={getattr(self, field)!r}.",
                    hint=near_misses(str(getattr(self, field)), known),
                )
        if self.every < 1:
            raise CompressError(
                f"updates were asked for every {self.every} steps.", hint="1 or more"
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Move connections, where it is time, and yield the one loss."""
        if step.step and step.step % self.every == 0 and self.fraction_at(step.step) > 0:
            self.update(net, batch, step)
        inputs, targets = batch
        yield step.loss(call(net, inputs), targets)

    def fraction_at(self, step: int) -> float:
        """The share that moves at a step: 0 from ``stop`` on.

        Example:
            >>> from supple.compress.prune import DynamicSparse
            >>> rule = DynamicSparse(fraction=0.3, stop=100)
            >>> rule.fraction_at(0), round(rule.fraction_at(50), 3), rule.fraction_at(100)
            (0.3, 0.15, 0.0)
        """
        if self.stop is None:
            return self.fraction
        if step >= self.stop:
            return 0.0
        return self.fraction / 2 * (1 + math.cos(math.pi * step / self.stop))

    def update(self, net: nn.Module, batch: Batch, step: StepContext) -> None:
        """One update of the masks of every layer."""
        parts, weights = _masked(net), prunable(net)
        drops, grows = self._scores(net, batch, step, parts, weights)
        for name, part in parts.items():
            _move(part, weights[name], drops[name], grows[name], self.fraction_at(step.step))

    def _scores(
        self,
        net: nn.Module,
        batch: Batch,
        step: StepContext,
        parts: dict[str, WeightMask],
        weights: dict[str, Tensor],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        hebbian: dict[str, Tensor] = {}
        if "hebbian" in (self.drop, self.grow):
            hebbian = correlations(net, batch[0], list(parts))

        def drawn() -> dict[str, Tensor]:
            return {name: _uniform(weights[name], step.rng) for name in parts}

        def gradient() -> dict[str, Tensor]:
            with unmasked_copy(net, training=True) as twin:
                found = gradients(twin, list(parts), batch, step.loss)
            return {name: found[name].abs() for name in parts}

        def size() -> dict[str, Tensor]:
            return {name: weights[name].detach().abs() for name in parts}

        ways: dict[str, Scorer] = {
            "magnitude": size, "random": drawn, "gradient": gradient, "hebbian": lambda: hebbian
        }  # fmt: skip
        return ways[self.drop](), ways[self.grow]()


def _masked(net: nn.Module) -> dict[str, WeightMask]:
    parts = mask_parts(net)
    if not parts:
        raise CompressError(
            f"sparse training was asked of a {type(net).__name__} without masks.",
            why="Its masks are what training moves.",
            hint="prune(model, 0.9, method='random', scope='erk').network, or "
            "apply_masks(model, full_masks(model)) to begin dense",
        )
    return parts


def _uniform(weight: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random(tuple(weight.shape))).to(weight.device)


def _move(part: WeightMask, weight: Tensor, drop: Tensor, grow: Tensor, fraction: float) -> None:
    """Drop the lowest scores that are on and grow the highest that were off, as many."""
    mask = part.mask.flatten()
    on, off = int(mask.sum()), int((~mask).sum())
    count = min(round(fraction * on), off, on - 1)
    if count <= 0:
        return
    inf = float("inf")
    lowest = drop.double().flatten().masked_fill(~mask, inf)
    highest = grow.double().flatten().masked_fill(mask, -inf)
    gone = torch.sort(lowest, stable=True).indices[:count]
    new = torch.sort(highest, descending=True, stable=True).indices[:count]
    after = mask.clone()
    after[gone], after[new] = False, True
    with torch.no_grad():
        # Dropped ones too: weight decay would otherwise keep moving what no one sees.
        weight.view(-1)[torch.cat([gone, new])] = 0.0
    part.set(after.reshape(part.mask.shape))
