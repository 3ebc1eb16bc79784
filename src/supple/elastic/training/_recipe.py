"""How long and how fast to train: the settings of the optimiser and its schedule, as a value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from supple.errors import TrainingError

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training run; exactly one of ``epochs`` and ``steps`` is given.

    The learning rate rises linearly over the warm-up and then falls along half a cosine to
    ``final_lr * lr``. Weight decay acts on matrices and kernels, not on biases and norms (tensors
    with fewer than two dimensions).

    Attributes:
        epochs: Passes over the data; may be a fraction.
        steps: Optimiser steps, one per batch of the loader.
        optimizer: ``sgd`` or ``adamw``.
        lr: The highest learning rate.
        momentum: Of SGD.
        nesterov: Whether SGD looks ahead; has no effect without momentum.
        betas: Decay rates of AdamW's two moments.
        weight_decay: Coefficient of the optimiser's weight decay.
        schedule: ``cosine`` or ``constant``, after the warm-up.
        warmup: Share of all steps the warm-up takes, between 0 and 1.
        final_lr: Share of ``lr`` the cosine ends at.
        grad_clip: Largest norm of the gradient; longer ones are shortened to it. None: any.

    Example:
        >>> from supple.elastic.training import Recipe
        >>> recipe = Recipe(epochs=10, lr=0.1, warmup=0.0)
        >>> recipe.lr_at(0, 100), round(recipe.lr_at(50, 100), 3)
        (0.1, 0.05)
    """

    epochs: float | None = None
    steps: int | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.05
    final_lr: float = 0.0
    grad_clip: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        given = [length for length in (self.epochs, self.steps) if length is not None]
        if len(given) != 1:
            raise TrainingError(
                f"A recipe got epochs={self.epochs} and steps={self.steps}.",
                why="Either of the two says how long to train.",
                hint="Recipe(epochs=10) or Recipe(steps=1000)",
            )
        for problem, hint in self._problems(given[0]):
            raise TrainingError(f"A recipe got {problem}.", hint=hint)

    def _problems(self, length: float) -> Iterable[tuple[str, str]]:
        if not 0 < length < math.inf:
            yield f"a length of {length}", "a positive number of epochs or steps"
        if not 0 < self.lr < math.inf:
            yield f"lr={self.lr}", "a positive learning rate, often 0.05 for sgd, 0.001 for adamw"
        if self.optimizer not in ("sgd", "adamw"):
            yield f"optimizer='{self.optimizer}'", "'sgd' or 'adamw'"
        if self.schedule not in ("cosine", "constant"):
            yield f"schedule='{self.schedule}'", "'cosine' or 'constant'"
        if not 0 <= self.warmup <= 1 or not 0 <= self.final_lr <= 1:
            yield f"warmup={self.warmup}, final_lr={self.final_lr}", "shares between 0 and 1"
        if not 0 <= self.momentum < 1 or not 0 <= self.weight_decay < math.inf:
            yield (
                f"momentum={self.momentum}, weight_decay={self.weight_decay}",
                "a momentum in [0, 1) and a weight_decay of 0 or more",
            )
        if self.grad_clip is not None and not self.grad_clip > 0:
            yield f"grad_clip={self.grad_clip}", "a positive norm, or None for no clipping"

    def total_steps(self, batches_per_epoch: int) -> int:
        """Optimiser steps of the whole run, at least one."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * batches_per_epoch))

    def lr_at(self, step: int, total: int) -> float:
        """The learning rate of step ``step`` (from 0) of ``total``."""
        warm = round(self.warmup * total)
        if step < warm:
            return self.lr * (step + 1) / (warm + 1)
        if self.schedule == "constant":
            return self.lr
        progress = (step - warm) / max(1, total - warm)
        return self.lr * (
            self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2
        )

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over those ``parameters`` that ask for a gradient."""
        trained = [p for p in parameters if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise TrainingError(
                "The network has no parameter to train.",
                why="It has none at all, or all are frozen (requires_grad is False).",
                hint="for p in network.parameters(): p.requires_grad_(True)",
            )
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov and self.momentum > 0
        )

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON data; ``Recipe(**data)`` gives the recipe back."""
        return {**asdict(self), "betas": list(self.betas)}
