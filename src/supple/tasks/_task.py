"""What a task is: everything the main job needs to know about a network and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn

    from supple.progress import Progress

__all__ = ["OPTIONAL_PARTS", "PARTS", "Prepare", "Pretrain", "Task", "TaskCard"]

PARTS: MappingProxyType[str, str] = MappingProxyType(
    {
        "model": "model() gives the network, a torch.nn.Module",
        "example": "example() gives inputs for it: a tensor, a tuple, or a dict by name",
        "train": "train() gives the training batches, pairs (inputs, targets)",
        "valid": "valid() gives the batches by which sub-networks are compared",
        "loss": "loss(outputs, targets) gives a scalar tensor to minimise",
        "metric": "metric(outputs, targets) gives a score per example, the higher the better",
    }
)
"""The parts every task has."""

OPTIONAL_PARTS: MappingProxyType[str, str] = MappingProxyType(
    {
        "test": "test() gives batches used once, for the result, and never by the search",
        "untrained": "untrained() gives the network of model() before any training",
        "prepare": "prepare(progress=…) fetches what the other parts need",
        "pretrain": "pretrain(network, progress=…, checkpoint=…) turns it into that of model()",
        "train_on_all": "train_on_all() gives the batches of train() and valid() together",
        "name": "a short name",
        "description": "what the task is, a few sentences",
        "defaults": "a dict of recommended settings",
    }
)
"""The parts a task may have besides."""


class Prepare(Protocol):
    """Fetching of data and weights."""

    def __call__(self, *, progress: Progress | None = None) -> None:
        """Fetch what is not there yet."""


class Pretrain(Protocol):
    """Training of the original network, where its weights are not at hand."""

    def __call__(
        self,
        network: nn.Module,
        *,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Train ``network`` in place; a finished ``checkpoint`` makes this a quick read."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model, its data, a loss and a metric.

    Attributes:
        name: A short name.
        description: What it is, and what is to be known about its figures.
        model: Gives the original network, trained, and each time a new one.
        example: Gives inputs for the network: a tensor, a tuple of positional or a dict of
            keyword arguments.
        train: Gives the training batches ``(inputs, targets)``; can be iterated again and again.
        valid: Gives the batches by which sub-networks are compared; no example of ``train``.
        loss: ``loss(outputs, targets)`` to a scalar tensor.
        metric: ``metric(outputs, targets)`` to a score per example, the higher the better.
        test: Gives the batches of the final result, which the search never sees. None: there is
            no such data, and a result can only be stated on ``valid``.
        prepare: Fetches what is not there yet and tells how far it is. The other parts fetch what
            they need too, but silently. None: there is nothing to fetch.
        untrained: Gives the original network without its training, where ``model()`` trains it on
            the spot. None: ``model()`` is quick.
        pretrain: That training: after ``pretrain(untrained())`` it is the network of ``model()``.
            With a ``checkpoint`` path it can be interrupted and repeated, and is done once only.
        train_on_all: Gives the batches of ``train`` and ``valid`` together, to train the network
            that was picked once nothing is left to choose.
        defaults: Recommended settings: ``importance``, ``rule`` and ``rule_settings``, ``recipe``
            (elastic training), ``finetune`` (recipe of the pick), ``distil`` (share of the
            original's outputs in the pick's loss, or settings of
            `supple.elastic.training.Distil`), ``calibration_batches`` (batch norm),
            ``latency_batch``, ``elasticity`` (settings of `supple.elastic.Elasticity`). All
            optional.
        options: What the task was loaded with, the defaults included.
        source: The user's file it came from; None for a built-in task.
    """

    name: str
    description: str
    model: Callable[[], nn.Module]
    example: Callable[[], Any]
    train: Callable[[], Iterable[Any]]
    valid: Callable[[], Iterable[Any]]
    loss: Callable[[Any, Any], Any]
    metric: Callable[[Any, Any], Any]
    test: Callable[[], Iterable[Any]] | None = None
    prepare: Prepare | None = None
    untrained: Callable[[], nn.Module] | None = None
    pretrain: Pretrain | None = None
    train_on_all: Callable[[], Iterable[Any]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What is known of a built-in task without loading it.

    Attributes:
        name: What to call it by.
        summary: One line.
        options: The options of ``load`` with their defaults.
    """

    name: str
    summary: str
    options: Mapping[str, Any]
