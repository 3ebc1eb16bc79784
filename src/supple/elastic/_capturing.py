"""Capturing a model so that its batch is free, in as many modes as it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from supple.elastic._inputs import example_leaves, resize_batch
from supple.errors import SuppleError, TraceError
from supple.trace import Capture, Example, asks_for_mode, capture

__all__ = ["Captured", "capture_model"]


@dataclass(frozen=True)
class Captured:
    """What capturing a model gave.

    Attributes:
        captures: The graph for evaluation and, where it is another, the one for training.
        example: The arguments it was captured with, keywords in the order of the graph's inputs.
        notes: What the user should know about it.
    """

    captures: list[Capture]
    example: Example
    notes: tuple[str, ...] = ()


def capture_model(model: nn.Module, example: Example, *, both: bool | None = None) -> Captured:
    """Captures a model on a batch of at least two, where it takes one.

    With a single sample the batch looks like any other dimension of size one, which broadcasts.

    Args:
        model: Any module that ``torch.export`` can capture.
        example: Arguments of one call.
        both: Whether training mode gets a graph of its own; None looks at the model's code.
    """
    first = next((v for v in example_leaves(example) if isinstance(v, Tensor)), None)
    if first is not None and first.ndim > 0 and first.shape[0] == 1:
        try:
            return _capture(model, resize_batch(example, 2), both)
        except (SuppleError, RuntimeError):
            pass  # the model insists on one sample; it is captured as it is
    return _capture(model, example, both)


def _capture(model: nn.Module, example: Example, both: bool | None) -> Captured:
    captures = [capture(model, example, training=False)]
    notes: tuple[str, ...] = ()
    if asks_for_mode(model) if both is None else both:
        try:
            captures.append(capture(model, example, training=True))
        except TraceError as error:
            notes = (f"in training the network computes as in evaluation: {error.message}",)
    if isinstance(example, Mapping):
        order = captures[0].in_spec.children()[1].context
        example = {name: example[name] for name in order}
    return Captured(captures, example, notes)
