"""The operator that marks a swap point: its alternatives give one and the same."""

from __future__ import annotations

from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []


@rule("supple::choose")
def choose(op: Operation) -> Axes:
    """Whichever is taken, it has the same axes."""
    return op.align(*(op.analysis.axes_of(n) for n in op["options"]))
