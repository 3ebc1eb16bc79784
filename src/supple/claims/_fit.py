"""The one short training loop of claims, and what is measured of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.claims._data import Data
from supple.elastic.training import Batches, Plain, Recipe, Rule, train
from supple.errors import TrainingError

__all__ = ["Fit", "accuracy", "best_lr", "fit", "score", "squared_error"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a training went.

    Attributes:
        seconds: Wall time of the steps.
        losses: The loss of each step.
        is_diverged: Whether it ended because the loss or its gradient was not finite; the weights
            are those before that step.
    """

    seconds: float
    losses: tuple[float, ...]
    is_diverged: bool = False


def fit(
    model: nn.Module,
    data: Data,
    *,
    epochs: float,
    lr: float,
    seed: int,
    batch_size: int = 64,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    weight_decay: float = 1e-4,
    schedule: Literal["cosine", "constant"] = "cosine",
    grad_clip: float | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    rule: Rule | None = None,
) -> Fit:
    """Train ``model`` in place on the training part.

    Arms given the same ``seed`` see the same batches in the same order.

    Args:
        model: Any module; an elastic one for a rule that samples sub-networks.
        data: What to train on.
        epochs: Passes over the training part.
        lr: Highest learning rate.
        seed: Of the batches and of what the rule and dropout draw.
        batch_size: Examples per step.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
        weight_decay: Of matrices and kernels.
        schedule: ``cosine`` or ``constant``.
        grad_clip: Largest norm of the gradient; None for any.
        loss: ``loss(outputs, targets)``; by default cross-entropy for classes, squared error for
            values.
        rule: What to do with a batch; by default plain training.

    Example:
        >>> import torch
        >>> from supple.claims import accuracy, digits, fit, seeded
        >>> data = digits(0)
        >>> with seeded(0, "weights"):
        ...     model = torch.nn.Linear(64, 10)
        >>> fit(model, data, epochs=2, lr=0.01, seed=0).is_diverged, accuracy(model, data) > 0.8
        (False, True)
    """
    default = F.cross_entropy if data.classes else F.mse_loss
    batches = Batches(data.train_x, data.train_y, batch_size=batch_size, seed=seed)
    recipe = Recipe(
        epochs=epochs, lr=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule,
        grad_clip=grad_clip,
    )  # fmt: skip
    began = time.perf_counter()
    losses: list[float] = []
    try:
        log = train(
            model, batches, loss or default, rule or Plain(), recipe,
            seed=seed, progress=lambda now: losses.append(now.loss),
        )  # fmt: skip
    except TrainingError as error:
        if "last_finite_loss" not in error.data:
            raise
        seconds = time.perf_counter() - began
        return Fit(seconds=seconds, losses=tuple(losses), is_diverged=True)
    return Fit(seconds=log.seconds, losses=log.losses)


def accuracy(model: Callable[[Tensor], Any], data: Data, *, on_train: bool = False) -> float:
    """Share of examples of the test part that ``model`` names right; NaN scores count as wrong."""
    x, y = (data.train_x, data.train_y) if on_train else (data.test_x, data.test_y)
    scores = _outputs(model, x)
    right = (scores.argmax(1) == y) & torch.isfinite(scores).all(1)
    return float(right.double().mean())


def squared_error(model: Callable[[Tensor], Any], data: Data, *, on_train: bool = False) -> float:
    """Mean squared error on the test part, in units of the targets' variance; 1 is the mean."""
    x, y = (data.train_x, data.train_y) if on_train else (data.test_x, data.test_y)
    return float((_outputs(model, x).double() - y.double()).square().mean())


def score(model: Callable[[Tensor], Any], data: Data) -> float:
    """Accuracy for classes, minus the squared error for values: higher is better."""
    return accuracy(model, data) if data.classes else -squared_error(model, data)


def best_lr(
    build: Callable[[], nn.Module],
    data: Data,
    lrs: Sequence[float],
    *,
    seed: int,
    epochs: float,
    **settings: Any,
) -> float:
    """The learning rate with the best score on a fifth of the training part, held out.

    Every arm of a claim is given this, so that none is compared at another's learning rate.

    Args:
        build: Makes the untrained model.
        data: Its test part is not looked at.
        lrs: What to try; the first of equals wins.
        seed: Of weights and batches.
        epochs: Passes of each try.
        **settings: Further arguments of :func:`fit`.
    """
    from supple.claims._torch_seed import seeded

    part = data.held_out()
    scores = []
    for lr in lrs:
        with seeded(seed, "best_lr"):
            model = build()
        fit(model, part, epochs=epochs, lr=lr, seed=seed, **settings)
        scores.append(score(model, part))
    return lrs[max(range(len(lrs)), key=lambda place: _or_worst(scores[place]))]


def _or_worst(value: float) -> float:
    return value if value == value else -float("inf")


def _outputs(model: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """What ``model`` gives in eval mode; every module is afterwards in the mode it was in."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        with torch.no_grad():
            return torch.cat([model(part) for part in torch.split(x, 500)])
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
