"""What is tried on a new elastic network before anybody relies on it.

The captured graph must be the model, in evaluation and in training, on the example's batch and
on another; and every choice must run at its smallest. What fails is fixed, and said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from supple.elastic._compare import output_shapes, relative_difference
from supple.elastic._inputs import call_example, resize_batch
from supple.elastic._skeleton import unchanged_buffers
from supple.elastic._sub_network import SubNetwork
from supple.errors import TraceError
from supple.space import Config
from supple.trace import Example, same_randomness
from supple.trace._modes import in_mode

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = [
    "Shapes",
    "broken_choices",
    "check_evaluation",
    "other_batch",
    "runs_alike",
    "trains_alike",
]

_FAITHFUL = 1e-5  # relative difference up to which the captured graph counts as the model
_OTHER_BATCH = 2  # small, since what is checked costs some forward passes of it


def _output(network: nn.Module, example: Example, *, training: bool = False) -> Any:
    """What a network gives, with nothing about it changed."""
    with (
        in_mode(network, training),
        unchanged_buffers(network),
        torch.no_grad(),
        same_randomness(example),
    ):
        return call_example(network, example)


Shapes = list[tuple[int, ...]]
"""Of the leaves of an output."""


def check_evaluation(net: Elastic, model: nn.Module, example: Example) -> Shapes:
    """Raises TraceError where the captured graph is not the model; the shapes of its output."""
    output = _output(net, example)
    difference = relative_difference(output, _output(model, example))
    if difference > _FAITHFUL:
        raise TraceError(
            f"the captured graph of {type(model).__name__} differs from the model by "
            f"{difference:.2g} of the output's scale.",
            why="Something in the model depends on state that torch.export froze.",
            hint="make forward depend on its arguments and parameters only.",
            difference=difference,
        )
    return output_shapes(output)


def trains_alike(net: Elastic, model: nn.Module, example: Example) -> bool | None:
    """Whether network and model are the same in training; None if the model does not train."""
    try:
        want = _output(model, example, training=True)
    except Exception:  # the user's code: batch norm of one value, a missing target
        return None
    try:
        return relative_difference(_output(net, example, training=True), want) <= _FAITHFUL
    except Exception:
        return False


def other_batch(example: Example, size: int) -> Example:
    """The example with another number of samples, a small one."""
    return resize_batch(example, 3 if size == _OTHER_BATCH else _OTHER_BATCH)


def runs_alike(net: Elastic, model: nn.Module, example: Example) -> Shapes | None:
    """The shapes of the output where network and model are the same in evaluation, else None."""
    try:
        output = _output(net, example)
        is_alike = relative_difference(output, _output(model, example)) <= _FAITHFUL
    except Exception:  # either refuses the batch; which one does not matter
        return None
    return output_shapes(output) if is_alike else None


def broken_choices(net: Elastic, example: Example, want: Shapes) -> dict[str, str]:
    """The choices that cannot be at their smallest, each with what went wrong.

    Args:
        net: The network.
        example: What it is called with.
        want: The shapes of the output it gives then.
    """
    space = net.space
    if not space:
        return {}
    deep = space.smallest.replace(
        {name: choice.options[-1] for name, choice in space.items() if choice.kind == "depth"}
    )
    if not _problem(net, space.smallest, example, want) and not _problem(net, deep, example, want):
        return _broken_swaps(net, example, want)
    config = space.largest
    broken: dict[str, str] = _broken_swaps(net, example, want)
    for name in sorted(space, key=lambda name: space[name].kind == "depth"):  # depth comes last
        candidate = config.replace({name: space[name].options[0]})
        problem = _problem(net, candidate, example, want)
        if problem:
            broken[name] = problem
        else:
            config = candidate
    return broken


def _broken_swaps(net: Elastic, example: Example, want: list[tuple[int, ...]]) -> dict[str, str]:
    """The swap points with an alternative that does not run, all else as it was brought."""
    space = net.space
    return {
        name: problem
        for name, choice in space.items()
        if choice.kind == "swap"
        for option in choice.options
        if (problem := _problem(net, space.largest.replace({name: option}), example, want))
    }


def _problem(net: Elastic, config: Config, example: Example, shapes: Shapes) -> str:
    """What goes wrong with a sub-network; empty if it runs and keeps the output's shapes."""
    try:
        with in_mode(net, False), torch.no_grad(), same_randomness(example):
            # Not through net.at: one choice at a time may break a constraint of the space.
            got = call_example(SubNetwork(net, config, net._make_plan(config)), example)
    except Exception as error:
        return str(error).strip().partition("\n")[0] or repr(error)
    return "" if output_shapes(got) == shapes else "the output has another shape"
