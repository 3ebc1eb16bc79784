"""Random crops and flips of a whole batch of images at once, by one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CropFlip"]

# N images, C channels, H height, W width


@dataclass(frozen=True, kw_only=True)
class CropFlip:
    """Pad every image, cut a random window of the old size, and mirror half of them.

    Attributes:
        padding: Pixels added on each side; a window starts anywhere in ``0..2 * padding``.
        flip: Whether to mirror left to right with probability one half.
        fill: Value of the added pixels.

    Example:
        >>> import torch
        >>> from supple.elastic.training import CropFlip
        >>> images = torch.arange(18.0).reshape(2, 1, 3, 3)
        >>> CropFlip(padding=0, flip=False)(images, torch.Generator()).equal(images)
        True
    """

    padding: int = 4
    flip: bool = True
    fill: float = 0.0

    def __call__(self, x_NCHW: Tensor, draws: torch.Generator) -> Tensor:
        """The augmented images; every draw comes from the generator ``draws``."""
        count, _, height, width = x_NCHW.shape
        pad = self.padding
        offsets = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=draws)
        rows = offsets[0] + torch.arange(height)
        columns = offsets[1] + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(count, 1, generator=draws) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(x_NCHW, (pad, pad, pad, pad), value=self.fill)
        image = torch.arange(count)[:, None, None]
        device = x_NCHW.device
        x_NHWC = padded.permute(0, 2, 3, 1)[
            image.to(device), rows[:, :, None].to(device), columns[:, None, :].to(device)
        ]
        return x_NHWC.permute(0, 3, 1, 2).contiguous()
