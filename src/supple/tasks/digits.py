"""Handwritten digits, 8x8 pixels: a small residual network, trained on the spot in seconds.

The 1,797 images come with scikit-learn, so nothing is downloaded. They are the test half of the
UCI set "Optical Recognition of Handwritten Digits", by 13 writers, all of whom are in every part
of the split here; figures are for these writers, not for unknown ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.elastic.training import (
    Batches,
    CropFlip,
    Plain,
    Recipe,
    TrainingProgress,
    train,
)
from supple.errors import TaskError
from supple.measure.accuracy import top1
from supple.progress import Event, Progress
from supple.tasks._task import Task

__all__ = ["DigitsNet", "task"]

_MEAN, _STD = 0.305, 0.376  # of the training pixels, 0 to 1
_PARTS = (1000, 297, 500)  # training, validation, test images


def task(*, width: int = 32, blocks: int = 2, epochs: int = 20, seed: int = 0) -> Task:
    """The task ``digits``.

    Args:
        width: Channels of the first stage; the second has twice, the third four times as many.
        blocks: Residual blocks in each of the three stages.
        epochs: Passes over the training images when the network is trained on the spot.
        seed: Of the network's first weights and its training.
    """
    _check(width=width, blocks=blocks, epochs=epochs)
    data = _Data(batch_size=64, seed=seed)

    def untrained() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return DigitsNet(width=width, blocks=blocks)

    def pretrain(
        network: nn.Module, *, progress: Progress | None = None, checkpoint: Path | None = None
    ) -> None:
        recipe = Recipe(epochs=epochs, lr=0.1, weight_decay=5e-4, warmup=0.1)
        train(
            network, data.train(), _loss, Plain(), recipe,
            seed=seed, progress=_told(progress), checkpoint=checkpoint,
        )  # fmt: skip

    def model() -> nn.Module:
        network = untrained()
        pretrain(network)
        return network

    return Task(
        name="digits",
        description=(
            "Handwritten digits of 8x8 pixels (bundled with scikit-learn) and a residual network "
            f"of {3 * blocks} blocks, trained on the spot. 1,000 images for training, 297 to "
            "compare sub-networks by, 500 for the result; classes in equal shares, the split "
            "is always the same. One test image is 0.2 points of accuracy."
        ),
        model=model,
        untrained=untrained,
        pretrain=pretrain,
        example=lambda: (torch.zeros(1, 1, 8, 8),),
        train=data.train,
        valid=data.valid,
        test=data.test,
        train_on_all=data.train_on_all,
        loss=_loss,
        metric=top1,
        defaults={
            "rule": "sorted_net",
            "recipe": {"epochs": 30, "lr": 0.05, "weight_decay": 5e-4, "warmup": 0.1},
            "finetune": {"epochs": 10, "lr": 0.02, "weight_decay": 5e-4},
            "calibration_batches": 8,
            "latency_batch": 1,
        },
        options={"width": width, "blocks": blocks, "epochs": epochs, "seed": seed},
    )


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise TaskError(
                f"The task 'digits' got {name}={size}.", hint=f"{name}=1 or more", option=name
            )


class DigitsNet(nn.Module):
    """A stem, three stages of residual blocks at 8x8, 4x4 and 2x2 pixels, and a classifier.

    Args:
        width: Channels of the first stage; they double from stage to stage.
        blocks: Residual blocks per stage.
    """

    def __init__(self, *, width: int = 32, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stage1 = _stage(width, width, blocks, stride=1)
        self.stage2 = _stage(width, 2 * width, blocks, stride=2)
        self.stage3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the ten digits."""
        x = F.relu(self.norm(self.stem(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def _stage(before: int, after: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(before, after, stride)
    return nn.Sequential(first, *(_Block(after, after, 1) for _ in range(blocks - 1)))


@dataclass(frozen=True)
class _Data:
    """The loaders; images are shifted by up to one pixel in training."""

    batch_size: int
    seed: int

    def train(self) -> Batches:
        return self._shifted(0)

    def valid(self) -> Batches:
        return self._as_they_are(1)

    def test(self) -> Batches:
        return self._as_they_are(2)

    def train_on_all(self) -> Batches:
        return self._shifted(0, 1)

    def _shifted(self, *parts: int) -> Batches:
        shift = CropFlip(padding=1, flip=False, fill=-_MEAN / _STD)
        return Batches(*_images(*parts), batch_size=self.batch_size, seed=self.seed, augment=shift)

    def _as_they_are(self, part: int) -> Batches:
        return Batches(*_images(part), batch_size=500, shuffle=False)


def _images(*parts: int) -> tuple[Tensor, Tensor]:
    """Normalised images and labels of some parts of the split."""
    pixels, labels = _all_images()
    rows = np.concatenate([_split()[part] for part in parts])
    images = (torch.from_numpy(pixels[rows]).float() / 16 - _MEAN) / _STD
    return images[:, None], torch.from_numpy(labels[rows])


@cache
def _all_images() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target.astype(np.int64)


@cache
def _split() -> tuple[np.ndarray, ...]:
    """Row numbers of the parts, each with the classes in the shares they have in the whole."""
    labels = _all_images()[1]
    rng = np.random.RandomState(0)  # its stream is frozen for all versions of NumPy
    ends = np.cumsum(_PARTS)[:-1] / sum(_PARTS)
    pieces = [list(_cut(rng.permutation(np.flatnonzero(labels == c)), ends)) for c in range(10)]
    return tuple(np.sort(np.concatenate(part)) for part in zip(*pieces, strict=True))


def _cut(rows: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.split(rows, np.rint(ends * len(rows)).astype(int))


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, label_smoothing=0.1)


def _told(progress: Progress | None) -> Callable[[TrainingProgress], None]:
    def tell(now: TrainingProgress) -> None:
        if progress is not None:
            message = "training the original network"
            progress(Event("prepare", now.step, now.steps, message, {"loss": now.loss}))

    return tell
