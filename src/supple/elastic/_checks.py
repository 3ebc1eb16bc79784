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
from supple.errors import TraceError
from supple.space import Config
from supple.trace import Example, same_randomness
from supple.trace._modes import in_mode

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["broken_choices", "check_evaluation", "runs_other_batch", "trains_alike"]

_FAITHFUL = 1e-5  # relative difference up to which the captured graph counts as the model
_OTHER_BATCH = 3


def _output(network: nn.Module, example: Example, *, training: bool = False) -> Any:
    """What a network gives, with nothing about it changed."""
    with (
        in_mode(network, training),
        unchanged_buffers(network),
        torch.no_grad(),
        same_randomness(example),
    ):
        return call_example(network, example)


def check_evaluation(net: Elastic, model: nn.Module, example: Example) -> None:
    """Raises TraceError where the captured graph is not the model."""
    difference = relative_difference(_output(net, example), _output(model, example))
    if difference > _FAITHFUL:
        raise TraceError(
            f"the captured graph of {type(model).__name__} differs from the model by "
            f"{difference:.2g} of the output's scale.",
            why="Something in the model depends on state that torch.export froze.",
            hint="make forward depend on its arguments and parameters only.",
            difference=difference,
        )


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
    return resize_batch(example, 2 if size == _OTHER_BATCH else _OTHER_BATCH)


def runs_other_batch(net: Elastic, model: nn.Module, example: Example) -> bool:
    """Whether network and model are the same on a batch of another size."""
    other = other_batch(example, net.signature.batch_size)
    try:
        return relative_difference(_output(net, other), _output(model, other)) <= _FAITHFUL
    except Exception:  # either refuses the batch; which one does not matter
        return False


def broken_choices(net: Elastic, example: Example) -> dict[str, str]:
    """The choices that cannot be at their smallest, each with what went wrong."""
    space = net.space
    if not space:
        return {}
    if net.batch_size is None:
        example = other_batch(example, net.signature.batch_size)
    want = output_shapes(_output(net, example))
    deep = space.smallest.replace(
        {name: choice.options[-1] for name, choice in space.items() if choice.kind == "depth"}
    )
    if not _problem(net, space.smallest, example, want) and not _problem(net, deep, example, want):
        return {}
    config = space.largest
    broken: dict[str, str] = {}
    for name in sorted(space, key=lambda name: space[name].kind == "depth"):  # depth comes last
        candidate = config.replace({name: space[name].options[0]})
        problem = _problem(net, candidate, example, want)
        if problem:
            broken[name] = problem
        else:
            config = candidate
    return broken


def _problem(net: Elastic, config: Config, example: Example, shapes: list[tuple[int, ...]]) -> str:
    """What goes wrong with a sub-network; empty if it runs and keeps the output's shapes."""
    try:
        with in_mode(net, False), torch.no_grad(), same_randomness(example):
            got = call_example(net.at(config), example)
    except Exception as error:
        return str(error).strip().partition("\n")[0] or repr(error)
    return "" if output_shapes(got) == shapes else "the output has another shape"
