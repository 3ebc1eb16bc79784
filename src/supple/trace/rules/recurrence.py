"""Recurrent layers: gates times hidden size, one hidden size for all layers of a stack."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from supple.trace._axis import Axis, concat
from supple.trace._operation import Axes, Operation
from supple.trace._table import rule

__all__: list[str] = []

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def _hidden(op: Operation, gated: Axis, gates: int) -> Axis:
    """The hidden size in a dimension of gates times it; the gates keep their places."""
    gate, hidden = op.factor(gated, gates)
    op.fix(gate, "numbers the gates")
    return hidden


def _cell(op: Operation, gates: int, x: Axis, state: Axis, weights: list[Axes]) -> Axis:
    """Ties one cell: weights (gates x hidden, in), (gates x hidden, state), biases; its output."""
    hidden = _hidden(op, weights[0][0], gates)
    op.unify(weights[0][1], x)
    op.unify(weights[1][1], state)
    gated = [w[0] for w in weights[1:] if w[0].size == weights[0][0].size]
    for axis in gated:
        op.unify(axis, weights[0][0])
    return hidden


def _layers(op: Operation, is_projected: bool) -> Iterator[list[Axes]]:
    """The weights of each layer and direction in turn."""
    per_cell = 2 + 2 * bool(op["has_biases"]) + is_projected
    flat = [op.analysis.axes_of(node) for node in op["params"]]
    for start in range(0, len(flat), per_cell):
        yield flat[start : start + per_cell]


@rule(*_GATES)
def recurrent(op: Operation) -> list[Axes]:
    """``(input, state, weights)`` to the outputs of the last layer and the last states."""
    assert "input" in op.arguments  # packed sequences are another overload
    gates = _GATES[op.name]
    x = op.axes("input")
    given = op["hx"]
    states = [op.analysis.axes_of(n) for n in ([given] if isinstance(given, fx.Node) else given)]
    out, cell = states[0][-1], states[-1][-1]
    is_projected = out.size != cell.size
    if is_projected:
        op.fix((out, cell), "tells a projection by its size")
    else:
        op.unify(out, cell)
    directions = 2 if op["bidirectional"] else 1
    feed = x[-1]
    ends: list[Axis] = []
    for i, weights in enumerate(_layers(op, is_projected)):
        hidden = _cell(op, gates, feed, out, weights)
        op.unify(hidden, cell)
        if is_projected:
            op.unify_all([(weights[-1][0], out), (weights[-1][1], cell)])
        ends.append(out)
        if (i + 1) % directions == 0:
            feed, ends = concat(ends), []
    batch = 0 if op["batch_first"] else 1
    op.fix(x[1 - batch] if len(x) == 3 else x[0], "is time")
    for state in states:
        op.fix(state[0], "numbers the layers")
        if len(x) == 3:
            op.unify(state[1], x[batch])
    return [(*x[:-1], feed), *states]


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def recurrent_cell(op: Operation) -> Axes | list[Axes]:
    """One step of one layer."""
    given = op["hx"]
    states = [op.analysis.axes_of(n) for n in ([given] if isinstance(given, fx.Node) else given)]
    x, state = op.axes("input"), states[0]
    names = ("w_ih", "w_hh", "b_ih", "b_hh")
    weights = [w for w in map(op.maybe_axes, names) if w is not None]
    hidden = _cell(op, _GATES[op.name.removesuffix("_cell")], x[-1], state[-1], weights)
    for other in states:
        op.unify(other[-1], hidden)
        op.align(other[:-1], x[:-1])
    return [tuple(s) for s in states] if op.name == "lstm_cell" else state
