"""Formats that are a short list of values: each value goes to the nearest of the list."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from supple.compress.quantize._quantizer import Quantizer

__all__ = ["LevelQuantizer", "nearest_level"]


def nearest_level(rows: Tensor, levels: Tensor) -> Tensor:
    """The position of the nearest of each row's ascending ``levels``; halfway goes down."""
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    return torch.searchsorted(middles.contiguous(), rows.contiguous())


@dataclass(frozen=True, kw_only=True)
class LevelQuantizer(Quantizer):
    """A quantizer whose format is a list of values for each row."""

    @abstractmethod
    def levels(self, rows: Tensor) -> Tensor:
        """The values of the format, ascending, of shape (rows, levels)."""

    def quantize_rows(self, rows: Tensor) -> Tensor:
        """Each value at the nearest level of its row."""
        levels = self.levels(rows)
        return levels.gather(1, nearest_level(rows, levels))
