"""Activate while pruning (paper 5): part of every round's budget goes on switching units on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from supple.compress.mask import prunable
from supple.compress.prune import Magnitude, Pruner, find_masks
from supple.compress.sparsity import check_ratio
from supple.compress.tickets.lottery import Round
from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["ActivateWhilePruning"]

Pick = Literal["moved least", "random"]


@implements(5)
@dataclass(frozen=True, kw_only=True)
class ActivateWhilePruning:
    """A pruner for rounds: the base pruner, and then negative weights that hardly moved.

    Of the weights that are left before a round, the share ``ratio`` goes in all: ``ratio - share``
    by the base pruner, then ``share`` among the negative ones, those first that training moved
    least since the round began. Without negative weights into them, units are on more often.

    Attributes:
        base: What scores the other weights.
        share: Share of the remaining weights that goes for activation; 0 is the base pruner.
        pick: ``moved least``, or ``random`` negative ones as a control.

    Example:
        >>> from supple.compress.tickets import ActivateWhilePruning
        >>> from supple.compress.tickets import LotteryTickets
        >>> LotteryTickets(ratio=0.2, pruner=ActivateWhilePruning(share=0.02)).pruner.share
        0.02
    """

    name: ClassVar[str] = "activate_while_pruning"

    base: Pruner = field(default_factory=Magnitude)
    share: float = 0.02
    pick: Pick = "moved least"

    def __post_init__(self) -> None:
        check_ratio(self.share, "share")
        if self.pick not in ("moved least", "random"):
            raise CompressError(f"there is no pick {self.pick!r}.", hint="'moved least', 'random'")

    @property
    def needs_data(self) -> bool:
        """Whether the base pruner does."""
        return self.base.needs_data

    def prune_round(self, now: Round) -> dict[str, Tensor]:
        """The masks of the next round.

        Raises:
            CompressError: The share for activation is larger than the round's.
        """
        if self.share > now.ratio:
            raise CompressError(
                f"a share of {self.share} for activation was asked of rounds that remove "
                f"{now.ratio}.",
                hint="a tenth of the round's ratio, as in the paper",
            )
        left = sum(int(mask.sum()) for mask in now.masks.values())
        extra = round(self.share * left)
        gone = round(now.ratio * left) - extra
        masks = find_masks(
            now.network, self.base, gone / left, scope=now.scope, among=now.masks,
            batches=now.batches, loss=now.loss, protect=now.protect,
        )  # fmt: skip
        return self._activate(masks, now, extra)

    def _activate(self, masks: dict[str, Tensor], now: Round, count: int) -> dict[str, Tensor]:
        """Remove ``count`` more, among the negative weights."""
        weights = {name: prunable(now.network)[name].detach() for name in masks}
        order = self._order(weights, now)
        may_go = {n: _candidates(mask, weights[n], order[n]) for n, mask in masks.items()}
        flat = torch.cat([order[n].masked_fill(~may_go[n], torch.inf).flatten() for n in masks])
        chosen = torch.sort(flat, stable=True).indices[:count]
        gone = torch.zeros(len(flat), dtype=torch.bool)
        gone[chosen] = torch.isfinite(flat[chosen])
        parts = torch.split(gone, [mask.numel() for mask in masks.values()])
        return {
            name: mask & ~part.reshape(mask.shape)
            for (name, mask), part in zip(masks.items(), parts, strict=True)
        }

    def _order(self, weights: Mapping[str, Tensor], now: Round) -> dict[str, Tensor]:
        if self.pick == "random":
            draws = torch_generator(now.seed, "activate while pruning", now.number)
            return {n: torch.rand(w.shape, generator=draws).double() for n, w in weights.items()}
        return {n: (w - now.start[n]).abs().double() for n, w in weights.items()}


def _candidates(mask: Tensor, weight: Tensor, order: Tensor) -> Tensor:
    """The negative weights; where a layer has no others, all but the one that would go last."""
    found = mask & (weight < 0)
    if bool(found.any()) and torch.equal(found, mask):
        found = found.clone()
        found.view(-1)[order.masked_fill(~mask, -1.0).argmax()] = False
    return found
