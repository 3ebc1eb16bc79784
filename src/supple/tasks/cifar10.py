"""CIFAR-10 photographs, 32x32 pixels: the pre-trained ResNet-20, 32, 44 and 56.

Data are the first 10,000 training and the first 2,000 test images of CIFAR-10, weights those of
Idelbayev's ResNets. Both are read from the folder ``SUPPLE_DATA``, or downloaded from their
official sources.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supple.elastic.training import Batches, CropFlip
from supple.errors import DataError, TaskError, near_misses
from supple.measure.accuracy import top1
from supple.progress import Progress
from supple.tasks._data_folder import find, place_for, read_npz, to_put_by_hand, write_npz
from supple.tasks._download import download
from supple.tasks._resnet_cifar import BLOCKS_PER_STAGE, CifarResNet
from supple.tasks._task import Task

__all__ = ["task"]

IMAGES = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
)
"""The official archive (170 MB) in its plain binary form, and its checksum as published."""

_COMMIT = "d5489e8995e81e91ce6b1d69dcc98ad579b0b153"
WEIGHTS_URL = (
    f"https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/{_COMMIT}"
    "/pretrained_models/"
)
WEIGHTS = {
    "resnet20": "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
    "resnet32": "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
    "resnet44": "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
    "resnet56": "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
}
"""SHA-256 of the published weight files, whose names carry its first eight digits."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the weights were trained with
_TRAIN_IMAGES, _TEST_IMAGES = 10_000, 2_000


def task(
    *, model: str = "resnet20", valid_images: int = 2000, batch_size: int = 128, seed: int = 0
) -> Task:
    """The task ``cifar10``.

    Args:
        model: ``resnet20``, ``resnet32``, ``resnet44`` or ``resnet56``.
        valid_images: Of the 10,000 training images, how many are held out to compare by.
        batch_size: Images in a training batch.
        seed: Of the order and augmentation of the training images.
    """
    if model not in BLOCKS_PER_STAGE:
        raise TaskError(
            f"The task 'cifar10' has no model '{model}'.",
            hint=near_misses(model, BLOCKS_PER_STAGE),
            option="model",
        )
    if not 10 <= valid_images <= _TRAIN_IMAGES - 10:
        raise TaskError(
            f"The task 'cifar10' got valid_images={valid_images}.",
            why=f"They are taken from {_TRAIN_IMAGES:,} training images.",
            hint="valid_images=2000",
            option="valid_images",
        )

    def prepare(*, progress: Progress | None = None) -> None:
        _images_file(progress)
        _weights_file(model, progress)

    data = _Data(valid_images=valid_images, batch_size=batch_size, seed=seed)
    return Task(
        name="cifar10",
        description=(
            f"CIFAR-10, 32x32 pixels, and the pre-trained {model.replace('resnet', 'ResNet-')}. "
            f"Of the first 10,000 training images {valid_images:,} (always the same, classes in "
            "equal shares) are held out to compare sub-networks by, the others train. The "
            "pre-trained network has seen all of them, so its accuracy on held-out images is "
            "near 100 % and that of sub-networks is too good as well: it ranks them, and says "
            "nothing of new images. The result is measured on the first 2,000 test images, which "
            "neither training nor search sees; one of them is 0.05 points."
        ),
        prepare=prepare,
        model=lambda: _pretrained(model),
        example=lambda: (torch.zeros(1, 3, 32, 32),),
        train=data.train,
        valid=data.valid,
        test=data.test,
        train_on_all=data.train_on_all,
        loss=F.cross_entropy,
        metric=top1,
        defaults={
            # Widths that ONNX Runtime is fast at, and no fewer than half: with 10,000 images a
            # network that was trained on 50,000 does not recover from deeper cuts.
            "elasticity": {"ratios": (0.5, 0.75, 1.0), "multiple_of": 8},
            "rule": "super_plus_random",
            "recipe": {"epochs": 2, "lr": 0.005, "weight_decay": 5e-4, "grad_clip": 1.0},
            "finetune": {"epochs": 26, "lr": 0.03, "weight_decay": 5e-4},
            "distil": 0.9,
            "calibration_batches": 8,
            "latency_batch": 1,
        },
        options={
            "model": model,
            "valid_images": valid_images,
            "batch_size": batch_size,
            "seed": seed,
        },
    )


@dataclass(frozen=True)
class _Data:
    """The loaders; images stay bytes in memory and are normalised batch by batch."""

    valid_images: int
    batch_size: int
    seed: int

    def train(self) -> Batches:
        return self._augmented(self._held_out[1])

    def valid(self) -> Batches:
        return self._as_they_are("train", self._held_out[0])

    def test(self) -> Batches:
        return self._as_they_are("test", np.arange(len(self._arrays["y_test"])))

    def train_on_all(self) -> Batches:
        return self._augmented(np.arange(len(self._arrays["y_train"])))

    def _augmented(self, rows: NDArray[Any]) -> Batches:
        return Batches(
            *self._images("train", rows),
            batch_size=self.batch_size,
            seed=self.seed,
            augment=CropFlip(padding=4),
            prepare=_normalised,
        )

    def _as_they_are(self, part: str, rows: NDArray[Any]) -> Batches:
        images, labels = self._images(part, rows)
        return Batches(images, labels, batch_size=250, shuffle=False, prepare=_normalised)

    def _images(self, part: str, rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(self._arrays[f"x_{part}"][rows]).permute(0, 3, 1, 2)
        return images.contiguous(), torch.from_numpy(self._arrays[f"y_{part}"][rows]).long()

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return read_npz(_images_file())

    @cached_property
    def _held_out(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Row numbers of held-out and of training images; an equal share of each class."""
        labels = self._arrays["y_train"]
        rng = np.random.RandomState(0)  # its stream is frozen for all versions of NumPy
        order = rng.permutation(len(labels))
        rank = np.empty(len(labels), dtype=int)
        for label in range(10):
            rows = order[labels[order] == label]
            rank[rows] = np.arange(len(rows)) * len(labels) // len(rows)
        by_rank = np.lexsort((order, rank))
        return np.sort(by_rank[: self.valid_images]), np.sort(by_rank[self.valid_images :])


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return (pixels.float() / 255 - mean) / std


def _images_file(progress: Progress | None = None) -> Path:
    """The images of this task, out of the official archive if need be."""
    name = "cifar10/cifar10.npz"
    if (path := find(name)) is not None:
        return path
    url, checksum = IMAGES
    archive = _fetched(f"cifar10/{url.rpartition('/')[2]}", url, checksum, progress)
    try:
        with tarfile.open(archive) as files:
            x_train, y_train = _records(files, "data_batch_1.bin", _TRAIN_IMAGES)
            x_test, y_test = _records(files, "test_batch.bin", _TEST_IMAGES)
    except (tarfile.TarError, KeyError, ValueError, EOFError, OSError) as error:
        raise DataError(
            f"The archive '{archive}' cannot be read: {error}.",
            why="It is damaged, or not CIFAR-10 in its binary form.",
            hint="delete it, and it is downloaded again",
        ) from error
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return write_npz(place_for(name), arrays)


def _records(files: tarfile.TarFile, name: str, most: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (N, 32, 32, 3) and labels: a record is a label byte and 3 planes of 32 x 32 bytes."""
    member = files.extractfile(f"cifar-10-batches-bin/{name}")
    if member is None:
        raise KeyError(name)
    records = np.frombuffer(member.read(), dtype=np.uint8).reshape(-1, 3073)[:most]
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].copy()


def _fetched(name: str, url: str, checksum: str, progress: Progress | None) -> Path:
    """The published file, where a person has put it or from where it is published."""
    by_hand = to_put_by_hand(name, url)
    return find(name) or download(
        url, place_for(name), checksum=checksum, progress=progress, instead=by_hand
    )


def _pretrained(model: str) -> nn.Module:
    path = _weights_file(model)
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, then replaced
        network = CifarResNet(blocks=BLOCKS_PER_STAGE[model])
    weights = {key: torch.from_numpy(array) for key, array in read_npz(path).items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"The file '{path}' does not hold the weights of {model}.",
            why=str(error).splitlines()[0],
            hint="delete it, and it is fetched again; or put the right file in its place",
            path=str(path),
        ) from error
    return network.eval()


def _weights_file(model: str, progress: Progress | None = None) -> Path:
    """The weights by parameter name, out of the published file if need be."""
    name = f"pretrained_resnet_cifar10/{model}.npz"
    if (path := find(name)) is not None:
        return path
    file = f"{model}-{WEIGHTS[model][:8]}.th"
    checksum = f"sha256:{WEIGHTS[model]}"
    folder = name.partition("/")[0]
    published = _fetched(f"{folder}/{file}", WEIGHTS_URL + file, checksum, progress)
    # Tensors and plain containers only: weights_only refuses everything that could run code.
    state = torch.load(published, map_location="cpu", weights_only=True)["state_dict"]
    weights = {key.removeprefix("module."): tensor.numpy() for key, tensor in state.items()}
    return write_npz(place_for(name), weights)
