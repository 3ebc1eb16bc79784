"""SortedNet (paper 75, 2309.00255): nested sub-networks, trained by the task's loss alone.

A smaller sub-network is a prefix of every larger one. Each step draws a few of them at random,
gives each a micro-batch of its own, and takes one optimiser step on the mean of their losses.
There is no distillation, so a step costs no more than one ordinary step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from supple.elastic._call import batch_size, call
from supple.elastic.training._batch import Batch, split_batch
from supple.elastic.training._rule import StepContext, elastic
from supple.elastic.training._soft_targets import Match, check_matching, match_outputs
from supple.errors import TrainingError, near_misses
from supple.papers import implements

__all__ = ["Sampler", "SortedNet"]

Sampler = Literal["uniform", "largest"] | Callable[[Any, np.random.Generator], Any]
"""A named distribution over the space, or ``sampler(space, rng)`` to a config."""

_SAMPLERS = ("largest", "uniform")


@implements(75)
@dataclass(frozen=True, kw_only=True)
class SortedNet:
    """Train ``accumulate`` random sub-networks per step, each on its part of the batch.

    The batch is cut into ``accumulate`` micro-batches (fewer where that would leave a micro-batch
    of one example, on which batch norm is not defined); the loss is the mean over the draws of the
    task's loss. Parameters beyond a drawn prefix have no gradient from that draw.

    With a frozen teacher, the distance to its outputs is added to each task loss. The paper has
    no teacher.

    Attributes:
        accumulate: Draws per optimiser step; the paper finds 2 or 4 better than 1.
        sampler: The distribution over sub-networks: ``uniform``, ``largest`` (all probability on
            the full network: ordinary training), or ``sampler(space, rng)`` to a config.
        include_full: Whether one of the draws is always the full network.
        temperature: Softens the class probabilities in the distance to a teacher.
        distil_weight: Weight of that distance.
        match: What is compared: ``classes``, ``values``, or ``auto`` by the task's targets.

    Example:
        >>> import torch
        >>> from supple import Elastic
        >>> from supple.elastic.training import Batches, Recipe, SortedNet, train
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        >>> x, y = torch.randn(64, 8), torch.randint(2, (64,))
        >>> net = Elastic(model, (x[:4],))
        >>> log = train(net, Batches(x, y, batch_size=16), torch.nn.functional.cross_entropy,
        ...             SortedNet(), Recipe(epochs=2, lr=0.05))
        >>> net.at(net.space.smallest)(x).shape
        torch.Size([64, 2])
    """

    name: ClassVar[str] = "sorted_net"
    takes_teacher: ClassVar[bool] = True

    accumulate: int = 2
    sampler: Sampler = "uniform"
    include_full: bool = False
    temperature: float = 1.0
    distil_weight: float = 1.0
    match: Match = "auto"

    def __post_init__(self) -> None:
        check_matching(self.name, self.temperature, self.match)
        if self.accumulate < 1:
            raise TrainingError(
                f"The training rule 'sorted_net' got accumulate={self.accumulate}.",
                why="It is the number of sub-networks drawn in each step.",
                hint="1 or more",
            )
        if not callable(self.sampler) and self.sampler not in _SAMPLERS:
            raise TrainingError(
                f"The training rule 'sorted_net' has no sampler '{self.sampler}'.",
                hint=near_misses(str(self.sampler), _SAMPLERS) + " Or a function of (space, rng).",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the loss of each drawn sub-network on its micro-batch."""
        space = elastic(net, self).space
        draws = max(1, min(self.accumulate, batch_size(batch[0]) // 2))
        for index, (inputs, targets) in enumerate(split_batch(batch, draws)):
            full = self.include_full and index == 0
            config = space.largest if full else self._draw(space, step.rng)
            outputs = call(elastic(net, self).at(config), inputs)
            loss = step.loss(outputs, targets)
            soft = step.taught(inputs)
            if soft is not None:
                loss = loss + self.distil_weight * match_outputs(
                    outputs, soft, targets, temperature=self.temperature, match=self.match
                )
            yield loss / draws

    def _draw(self, space: Any, rng: np.random.Generator) -> Any:
        if callable(self.sampler):
            return self.sampler(space, rng)
        return space.largest if self.sampler == "largest" else space.sample(rng=rng)
