"""Importance by chance: the floor that every other scorer has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from supple.elastic.importance._base import Normalise, Scores, check_normalise, normalised
from supple.seeds import torch_generator

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["Random"]


@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform draws between 0 and 1, and a random order of the blocks of every stage.

    Args:
        seed: Of the draws; those of an axis depend on its name and size alone.
        order_blocks: Whether blocks are ordered too.
        normalise: How axes are made comparable.
    """

    name: ClassVar[str] = "random"

    seed: int = 0
    order_blocks: bool = True
    normalise: Normalise = "none"

    def __post_init__(self) -> None:
        check_normalise(self.normalise)

    def scores(self, net: Elastic) -> Scores:
        """The scores of a network's axes, and the order of its blocks."""
        axes = {
            axis.name: torch.rand(axis.size, generator=self._draws("axis", axis.name))
            for axis in net.structure.axes
        }
        blocks: dict[str, tuple[int, ...]] = {}
        if self.order_blocks:
            for stage in net.structure.stages:
                draws = self._draws("stage", stage.name)
                blocks[stage.name] = tuple(
                    torch.randperm(len(stage.blocks), generator=draws).tolist()
                )
        return Scores(axes=normalised(axes, self.normalise), blocks=blocks)

    def _draws(self, kind: str, name: str) -> torch.Generator:
        return torch_generator(self.seed, "importance", "random", kind, name)
