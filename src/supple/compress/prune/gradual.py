"""Gradual magnitude pruning: a dense network loses weights while it trains (1710.01878)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from supple.compress.mask import mask_parts, prunable
from supple.compress.prune._pruner import Batch
from supple.compress.prune.dynamic import _masked
from supple.compress.sparsity import Allocation, check_ratio, gradual_ratio, masks_from_scores
from supple.elastic._call import call
from supple.elastic.training import StepContext
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["Gradual"]


@implements(116)
@dataclass(frozen=True, kw_only=True)
class Gradual:
    """A training rule: the task's loss, and every so many steps the smallest weights go.

    The ratio is `gradual_ratio`: cubic, fast at first, exact at the end. The network must have
    masks; ``apply_masks(model, full_masks(model))`` gives it some that keep everything.

    Attributes:
        ratio: Share removed at the end.
        begin: First step.
        end: The step at which the share is reached.
        every: Steps between two prunings; ``end`` always prunes.
        scope: How the share is allocated to layers.
        reactivates: Whether a removed weight, which keeps its value, competes again each time.

    Example:
        >>> from supple.compress.prune import Gradual
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.mask import apply_masks, density, full_masks, masks_of
        >>> from supple.elastic.training import Batches, Recipe, train
        >>> x, y = torch.randn(64, 8), torch.randint(3, (64,))
        >>> net = nn.Linear(8, 3)
        >>> net = apply_masks(net, full_masks(net))
        >>> rule = Gradual(ratio=0.75, begin=0, end=12, every=4)
        >>> log = train(net, Batches(x, y, batch_size=16), nn.CrossEntropyLoss(), rule,
        ...             Recipe(epochs=5))
        >>> density(masks_of(net))
        0.25
    """

    name: ClassVar[str] = "gradual"
    takes_teacher: ClassVar[bool] = False

    ratio: float
    begin: int = 0
    end: int
    every: int = 100
    scope: Allocation = "global"
    reactivates: bool = False

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.every < 1 or not 0 <= self.begin <= self.end:
            raise CompressError(
                f"gradual pruning got begin={self.begin}, end={self.end}, every={self.every}.",
                hint="0 <= begin <= end, and every of 1 or more",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Prune, where it is time, and yield the one loss."""
        now = step.step
        is_due = self.begin <= now <= self.end and (now - self.begin) % self.every == 0
        if is_due or now == self.end:
            self.prune(net, now)
        inputs, targets = batch
        yield step.loss(call(net, inputs), targets)

    def prune(self, net: nn.Module, step: int) -> None:
        """Set the masks to the share of a step."""
        _masked(net)
        parts, weights = mask_parts(net), prunable(net)
        scores = {
            name: weights[name].detach().abs().masked_fill(
                (~part.mask) & (not self.reactivates), -1.0
            )
            for name, part in parts.items()
        }  # fmt: skip
        ratio = gradual_ratio(step, begin=self.begin, end=self.end, final=self.ratio)
        for name, mask in masks_from_scores(scores, ratio, scope=self.scope).items():
            parts[name].set(mask)
