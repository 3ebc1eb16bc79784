"""Small data sets that need no download: real ones of scikit-learn, and made ones.

Every seed has its own split (and, for made data, its own draws), so the interval over seeds holds
the choice of examples too. Inputs are standardised with the training part's mean and spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from supple.errors import DataError, near_misses
from supple.seeds import generator

__all__ = ["Data", "digits", "made", "spirals", "table"]

TableName = Literal["breast_cancer", "diabetes", "iris", "wine", "digits"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """A training part and a test part.

    Attributes:
        name: What it is.
        train_x: Inputs, examples first, float32, standardised.
        train_y: Class numbers (int64), or standardised values of shape (examples, outputs).
        test_x: Inputs of the test part.
        test_y: Targets of the test part.
        classes: How many classes; 0 for values.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int

    @property
    def features(self) -> int:
        """Numbers per example."""
        return int(self.train_x[0].numel())

    @property
    def outputs(self) -> int:
        """Numbers a network for this data gives: one per class or value."""
        return self.classes or int(self.train_y.shape[1])

    def held_out(self, share: float = 0.2) -> Data:
        """The training part alone, its last share as test part: to choose settings on."""
        cut = round(len(self.train_x) * (1 - share))
        return replace(
            self,
            train_x=self.train_x[:cut], train_y=self.train_y[:cut],
            test_x=self.train_x[cut:], test_y=self.train_y[cut:],
        )  # fmt: skip


def digits(seed: int, *, images: bool = False, train: int = 1200) -> Data:
    """Handwritten digits of 8x8 pixels, 10 classes, 1,797 in all.

    Args:
        seed: Of the split, which keeps the shares of the classes.
        images: Shape (examples, 1, 8, 8) instead of (examples, 64).
        train: Examples of the training part; the others are the test part.

    Example:
        >>> from supple.claims import digits
        >>> data = digits(0, images=True)
        >>> tuple(data.train_x.shape), tuple(data.test_x.shape)
        ((1200, 1, 8, 8), (597, 1, 8, 8))
    """
    data = table("digits", seed, train=train)
    if not images:
        return data
    return replace(
        data,
        train_x=data.train_x.reshape(-1, 1, 8, 8),
        test_x=data.test_x.reshape(-1, 1, 8, 8),
    )


def table(name: TableName, seed: int, *, train: int | float = 0.7) -> Data:
    """A table that comes with scikit-learn, split anew for each seed.

    Args:
        name: ``breast_cancer`` (569 x 30, 2 classes), ``wine`` (178 x 13, 3 classes), ``iris``
            (150 x 4, 3 classes), ``digits`` (1,797 x 64, 10 classes) or ``diabetes`` (442 x 10,
            a value).
        seed: Of the split.
        train: Examples, or share, of the training part.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    known = ("breast_cancer", "diabetes", "digits", "iris", "wine")
    if name not in known:
        raise DataError(f"there is no table {name!r}.", hint=near_misses(str(name), known))
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    state = int(generator(seed, "split", name).integers(2**31))
    stratify = None if name == "diabetes" else y
    parts = train_test_split(x, y, train_size=train, random_state=state, stratify=stratify)
    if name == "digits":  # pixels share one scale: corners that are always empty stay at one value
        return _data(name, *parts, classes=10, per_feature=False)
    return _data(name, *parts, classes=0 if stratify is None else int(y.max()) + 1)


def made(
    function: Callable[[np.ndarray], np.ndarray],
    seed: int,
    *,
    features: int,
    train: int = 1000,
    test: int = 1000,
    noise: float = 0.0,
    low: float = -1.0,
    high: float = 1.0,
    name: str = "made",
) -> Data:
    """Values of a function at uniform random points of a cube; the test part has no noise.

    Args:
        function: Maps points of shape (examples, features) to one value each, or a few.
        seed: Of the points and the noise.
        features: Dimensions of the cube.
        train: Examples of the training part.
        test: Examples of the test part.
        noise: Standard deviation of the noise, in standard deviations of the values.
        low: Lower end of the cube's sides.
        high: Upper end.
        name: What to call it.

    Example:
        >>> from supple.claims import made
        >>> data = made(lambda x: x[:, 0] * x[:, 1], 0, features=2)
        >>> tuple(data.train_y.shape), data.outputs
        ((1000, 1), 1)
    """
    rng = generator(seed, "made", name)
    x = rng.uniform(low, high, size=(train + test, features))
    # A copy: a function may give back a view of the points.
    y = np.array(function(x), dtype=np.float64).reshape(train + test, -1)
    y[:train] += noise * y[:train].std(0) * rng.standard_normal((train, y.shape[1]))
    return _data(name, x[:train], x[train:], y[:train], y[train:], classes=0)


def spirals(
    seed: int, *, classes: int = 3, turns: float = 1.0, noise: float = 0.1, train: int = 600
) -> Data:
    """Interleaved spiral arms in the plane, one per class; 1,000 examples of test.

    Args:
        seed: Of the points.
        classes: Arms.
        turns: Turns of an arm around the centre; more are harder.
        noise: Standard deviation across the arm, its length being 1.
        train: Examples of the training part.
    """
    rng = generator(seed, "spirals")
    count = train + 1000
    label = rng.integers(classes, size=count)
    radius = np.sqrt(rng.uniform(0.02, 1.0, size=count))
    angle = 2 * np.pi * (turns * radius + label / classes)
    x = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    x += noise * rng.standard_normal(x.shape)
    return _data("spirals", x[:train], x[train:], label[:train], label[train:], classes=classes)


def _data(
    name: str,
    train_x: np.ndarray,
    test_x: np.ndarray,
    train_y: np.ndarray,
    test_y: np.ndarray,
    *,
    classes: int,
    per_feature: bool = True,
) -> Data:
    mean, spread = _scale(train_x, per_feature)
    if classes:
        targets = [torch.from_numpy(np.asarray(y, dtype=np.int64)) for y in (train_y, test_y)]
    else:
        values = [np.asarray(y, dtype=np.float64).reshape(len(y), -1) for y in (train_y, test_y)]
        middle, width = _scale(values[0], per_feature=True)
        targets = [torch.from_numpy((y - middle) / width).float() for y in values]
    inputs = [torch.from_numpy((x - mean) / spread).float() for x in (train_x, test_x)]
    return Data(
        name=name, classes=classes,
        train_x=inputs[0], test_x=inputs[1], train_y=targets[0], test_y=targets[1],
    )  # fmt: skip


def _scale(x: np.ndarray, per_feature: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; what never changes is left as wide as it is."""
    axis = 0 if per_feature else None
    spread = np.asarray(x.std(axis))
    return np.asarray(x.mean(axis)), np.where(spread > 0, spread, 1.0)
