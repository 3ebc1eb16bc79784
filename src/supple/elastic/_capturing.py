"""Capturing a model so that its batch is free, in as many modes as it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from supple.elastic._inputs import example_leaves, resize_batch
from supple.elastic._resizing import Resizing, resize_example, unchanged_attributes
from supple.errors import SuppleError, TraceError
from supple.trace import Capture, Example, capture

__all__ = ["AS_IN_EVALUATION", "Captured", "capture_model"]

AS_IN_EVALUATION = "in training the network computes as in evaluation"
"""Begins the note on a model that cannot be captured in training mode."""


@dataclass(frozen=True)
class Captured:
    """What capturing a model gave.

    Attributes:
        captures: The graph for evaluation and, where it is another, the one for training.
        example: The arguments it was captured with, keywords in the order of the graph's inputs.
        notes: What the user should know about it.
        resizing: How its inputs may be made smaller.
        smaller: The graphs for each smaller size of the inputs.
    """

    captures: list[Capture]
    example: Example
    notes: tuple[str, ...] = ()
    resizing: Resizing | None = None
    smaller: dict[int, list[Capture]] = field(default_factory=dict)

    @property
    def all_captures(self) -> list[Capture]:
        """The graphs of all sizes."""
        return [*self.captures, *(one for group in self.smaller.values() for one in group)]


def capture_model(
    model: nn.Module,
    example: Example,
    *,
    first: Captured | None = None,
    input_ratios: Sequence[float] = (),
) -> Captured:
    """Captures a model on a batch of at least two, where it takes one.

    With a single sample the batch looks like any other dimension of size one, which broadcasts.

    Args:
        model: Any module that ``torch.export`` can capture.
        example: Arguments of one call.
        first: What was captured for evaluation; training mode gets graphs of its own then.
        input_ratios: Fractions of the side or length of the inputs that get graphs of their own,
            where the model takes them.
    """
    if first is not None:
        return _with_sizes(model, _for_training(model, first), input_ratios)
    tensor = next((v for v in example_leaves(example) if isinstance(v, Tensor)), None)
    if tensor is not None and tensor.ndim > 0 and tensor.shape[0] == 1:
        try:
            return _with_sizes(model, _capture(model, resize_batch(example, 2)), input_ratios)
        except (SuppleError, RuntimeError):
            pass  # the model insists on one sample; it is captured as it is
    return _with_sizes(model, _capture(model, example), input_ratios)


def _capture(model: nn.Module, example: Example) -> Captured:
    one = capture(model, example, training=False)
    if isinstance(example, Mapping):
        order = one.in_spec.children()[1].context
        example = {name: example[name] for name in order}
    return Captured([one], example)


def _for_training(model: nn.Module, captured: Captured) -> Captured:
    """The same with a graph for training, where there can be one."""
    try:
        training = capture(model, captured.example, training=True)
    except TraceError as error:
        note = f"{AS_IN_EVALUATION}: {error.message}"
        return replace(captured, notes=(*captured.notes, note))
    pair = [replace(one, is_alone=False, rates={}) for one in (captured.captures[0], training)]
    return replace(captured, captures=_with_names_of_their_own(pair))


def _with_sizes(model: nn.Module, captured: Captured, ratios: Sequence[float]) -> Captured:
    """What was captured, with graphs for smaller inputs where the model takes such."""
    resizing = Resizing.of(example_leaves(captured.example)) if ratios else None
    if resizing is None:
        return captured
    smaller: dict[int, list[Capture]] = {}
    notes: tuple[str, ...] = ()
    for size in resizing.options(ratios)[:-1]:
        try:
            with unchanged_attributes(model):
                found = _capture(model, resize_example(captured.example, resizing, size))
                if len(captured.captures) > 1:
                    found = _for_training(model, found)
        except TraceError as error:
            notes += (f"{resizing.name} {size} is not offered: {error.message}",)
            continue
        if len(found.captures) == len(captured.captures):
            smaller[size] = found.captures
    found = replace(
        captured,
        notes=tuple(dict.fromkeys((*captured.notes, *notes))),
        resizing=resizing,
        smaller=smaller,
    )
    _with_names_of_their_own(found.all_captures)
    return found


def _with_names_of_their_own(captures: list[Capture]) -> list[Capture]:
    """The graphs, with the constants of one named apart from unlike ones of another."""
    known: dict[str, Tensor] = {}
    for i, one in enumerate(captures):
        for name, value in list(one.constants.items()):
            before = known.setdefault(name, value)
            if before.shape == value.shape and torch.equal(before, value):
                continue
            apart = f"{name}_of_graph_{i}"
            known[apart] = one.constants[apart] = one.constants.pop(name)
            for node, source in one.sources.items():
                if source.kind == "constant" and source.name == name:
                    one.sources[node] = replace(source, name=apart)
    return captures
