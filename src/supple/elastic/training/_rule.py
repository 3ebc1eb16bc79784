"""What a training rule is: one batch in, the losses of one optimiser step out.

A rule is a callable ``rule(net, batch, step)`` that *yields* losses one after another. The
training loop calls ``backward`` on each before it asks for the next, so the activations of one
sub-network at a time are in memory, and the gradient of the step is that of the sum of all
yielded losses. A rule scales what it yields so that this sum is the loss it stands for. A plain
function that returns one loss tensor is a rule too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from supple.elastic._call import call
from supple.elastic.training._batch import Batch
from supple.errors import TrainingError

__all__ = ["ElasticNetwork", "Loss", "Rule", "StepContext", "elastic", "losses_of", "rule_name"]

Loss = Callable[[Any, Any], Tensor]


@runtime_checkable
class ElasticNetwork(Protocol):
    """What a sampling rule needs of a network: a space, and its sub-networks by config."""

    space: Any

    def at(self, config: Any) -> Callable[..., Any]:
        """The sub-network of ``config``, on the shared weights."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The largest sub-network."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a rule may use besides the network and the batch.

    Attributes:
        rng: Source of every draw of the rule; of its own for each step, so that a resumed run
            draws what the uninterrupted one would have drawn.
        loss: The task's loss, ``loss(outputs, targets)`` to a scalar, the smaller the better.
        teacher: A frozen network to learn from, usually the original one, in eval mode.
        step: Optimiser steps done before this one.
        epoch: Passes over the data done before this one.
    """

    rng: np.random.Generator
    loss: Loss
    teacher: nn.Module | None = None
    step: int = 0
    epoch: int = 0

    def taught(self, inputs: Any) -> Any:
        """The teacher's outputs for ``inputs``, without gradient; None without a teacher."""
        if self.teacher is None:
            return None
        with torch.no_grad():
            return call(self.teacher, inputs)


class Rule(Protocol):
    """A training rule; see the head of this file."""

    def __call__(
        self, net: nn.Module, batch: Batch, step: StepContext
    ) -> Iterator[Tensor] | Tensor:
        """The losses of one optimiser step."""


def rule_name(rule: Rule) -> str:
    """The registered name of a rule, or the name of the function it is."""
    return str(getattr(rule, "name", None) or getattr(rule, "__qualname__", type(rule).__name__))


def elastic(net: nn.Module, rule: Rule) -> ElasticNetwork:
    """``net``, known to be elastic.

    Raises:
        TrainingError: It has no sub-networks to sample.
    """
    if _is_elastic(net):
        return net
    raise TrainingError(
        f"The training rule '{rule_name(rule)}' needs an elastic network, "
        f"got a {type(net).__name__}.",
        why="It trains sub-networks, and this network has no space and no at(config).",
        hint="wrap the model, supple.Elastic(model, example), "
        "or train it whole with the rule 'plain' or 'distil'",
        rule=rule_name(rule),
    )


def losses_of(rule: Rule, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
    """The losses a rule yields or, where it is a plain function, the one it returns."""
    result = rule(net, batch, step)
    if isinstance(result, Tensor):
        yield result
    else:
        yield from result


def _is_elastic(net: object) -> TypeGuard[ElasticNetwork]:
    return isinstance(net, ElasticNetwork)
