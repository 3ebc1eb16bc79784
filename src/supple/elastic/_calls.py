"""What extracted networks call besides operators; the exporters see through all of it."""

from __future__ import annotations

from torch import Tensor

__all__ = ["averaging_step", "count_batch", "dropout_rate"]


def count_batch(counter: Tensor, training: bool) -> None:
    """Counts one more batch in training mode, as torch's batch norm does."""
    if training:
        counter.add_(1)


def averaging_step(counter: Tensor, training: bool) -> float:
    """The momentum that makes running statistics plain averages over the batches counted."""
    return 1.0 / max(1.0, float(counter)) if training else 0.0


def dropout_rate(rate: float, training: bool) -> float:
    """The rate of a dropout that is on in training mode only."""
    return rate if training else 0.0
