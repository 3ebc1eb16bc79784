"""Sparsity in recurrent networks (paper 3): which weights go, and how fast training mends it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from supple.compress.mask import apply_masks, prunable
from supple.compress.prune._find import find_masks
from supple.compress.prune.magnitude import Magnitude
from supple.compress.sparsity import check_ratio
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["RecoveryPoint", "recovery_curve", "recurrent_masks"]

Part = Literal["input", "state", "both"]


@implements(3)
def recurrent_masks(model: nn.Module, ratio: float, part: Part = "both") -> dict[str, Tensor]:
    """Masks of the recurrent weights of a model: the smallest go, over all layers together.

    Args:
        model: A model with ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM`` layers, or one of these.
        ratio: Share of the part's weights to remove. 1 removes all of them: a recurrent layer
            without its state's weights still runs, so here nothing is kept.
        part: Weights from the ``input`` to the hidden units, from the ``state``, or ``both`` with
            one threshold.

    Raises:
        CompressError: There is no recurrent layer, or the ratio is not in 0 to 1.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune.recurrent import recurrent_masks
        >>> masks = recurrent_masks(nn.GRU(3, 4), 0.5, "state")
        >>> list(masks), masks["weight_hh_l0"].sum().item()
        (['weight_hh_l0'], 24)
    """
    check_ratio(ratio)
    if part not in ("input", "state", "both"):
        raise CompressError(f"there is no part {part!r}.", hint="'input', 'state' or 'both'")
    kinds = {"input": ("weight_ih",), "state": ("weight_hh",), "both": ("weight_ih", "weight_hh")}
    recurrent = [
        f"{name}.{leaf}".lstrip(".")
        for name, layer in model.named_modules()
        if isinstance(layer, nn.RNNBase)
        for leaf in layer._flat_weights_names
        if leaf.startswith(kinds[part])
    ]
    if not recurrent:
        raise CompressError(
            f"{type(model).__name__} has no recurrent layer.", hint="nn.RNN, nn.GRU or nn.LSTM"
        )
    others = tuple(name for name in prunable(model) if name not in recurrent)
    masks = find_masks(model, Magnitude(), ratio, protect=others)
    if ratio == 1:
        masks = {name: mask & False for name, mask in masks.items()}
    return masks


@dataclass(frozen=True, kw_only=True)
class RecoveryPoint:
    """What one share of removed weights costs.

    Attributes:
        ratio: The share.
        values: The score before any retraining, then after each call of ``train``.
    """

    ratio: float
    values: tuple[float, ...]

    def epochs_to(self, value: float) -> int | None:
        """After how many retrainings the score reaches ``value``; None if it does not."""
        return next((i for i, found in enumerate(self.values) if found >= value), None)


@implements(3)
def recovery_curve(
    model: nn.Module,
    ratios: Sequence[float],
    train: Callable[[nn.Module, int], object],
    score: Callable[[nn.Module], float],
    *,
    part: Part = "both",
    epochs: int = 10,
) -> tuple[RecoveryPoint, ...]:
    """Prune a trained recurrent model by each share, and retrain.

    Args:
        model: The trained model; every share begins with a copy of it.
        ratios: Shares of the weights.
        train: ``train(model, epoch)`` trains one epoch.
        score: Quality of a model, larger is better.
        part: See `recurrent_masks`.
        epochs: Retrainings of each.

    Example:
        >>> from torch import nn
        >>> from supple.compress.prune.recurrent import recovery_curve
        >>> layer = nn.RNN(2, 3)
        >>> (point,) = recovery_curve(
        ...     layer, [0.5], lambda m, e: None, lambda m: float((m.weight_hh_l0 == 0).sum()),
        ...     part="state", epochs=1)
        >>> point.values
        (4.0, 4.0)
    """
    points = []
    for ratio in ratios:
        twin = apply_masks(copy.deepcopy(model), recurrent_masks(model, ratio, part))
        values = [score(twin)]
        for epoch in range(epochs):
            train(twin, epoch)
            values.append(score(twin))
        points.append(RecoveryPoint(ratio=ratio, values=tuple(values)))
    return tuple(points)
