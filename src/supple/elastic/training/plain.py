"""Plain training: the task's loss of the whole network, and nothing else.

For an elastic network this is its largest sub-network; for any other module, the module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from supple.elastic._call import call
from supple.elastic.training._batch import Batch
from supple.elastic.training._rule import StepContext

__all__ = ["Plain"]


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Train the whole network on the task's loss.

    Example:
        >>> from supple.elastic.training import Plain
        >>> Plain()
        Plain()
    """

    name: ClassVar[str] = "plain"
    takes_teacher: ClassVar[bool] = False

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the one loss."""
        inputs, targets = batch
        yield step.loss(call(net, inputs), targets)
