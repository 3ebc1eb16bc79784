"""What a pruner is, and what pruners share: data, loss, gradients at the masked weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.compress.mask import prunable, remove_masks
from supple.elastic._call import call, tensors_in
from supple.errors import CompressError, DataError

__all__ = [
    "Batch",
    "Loss",
    "Pruner",
    "batches_of",
    "default_loss",
    "gradients",
    "gradients_along",
    "unmasked_copy",
]

Batch = tuple[Any, Any]
"""``(inputs, targets)``."""

Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets)``, a scalar."""


@runtime_checkable
class Pruner(Protocol):
    """Gives every weight a score, larger is more important.

    A pruner is a frozen dataclass whose fields are its settings. ``rounds`` says in how many steps
    the masks are to be found, with scores computed anew on the masked network in each.
    """

    name: ClassVar[str]
    needs_data: ClassVar[bool]

    @property
    def rounds(self) -> int:
        """In how many steps the masks are found."""

    def scores(
        self, model: nn.Module, batches: Sequence[Batch], loss: Loss, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """One number for each element of each named weight; the model is not changed."""


def default_loss(outputs: Any, targets: Any) -> Tensor:
    """Cross-entropy for whole numbers, squared error for others."""
    if isinstance(targets, Tensor) and targets.is_floating_point():
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets)


def batches_of(data: Iterable[Batch] | None, name: str) -> list[Batch]:
    """The data as a list.

    Raises:
        DataError: There is none, or it holds NaN or infinity.
    """
    found = [] if data is None else list(data)
    if not found:
        raise DataError(
            f"the pruner '{name}' got no data.",
            why="Its scores are computed from what the network does with data.",
            hint="data=[(inputs, targets), …], or method='magnitude', which needs none",
        )
    for inputs, _ in found:
        for tensor in tensors_in(inputs):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError(
                    f"the data given to the pruner '{name}' holds NaN or infinity.",
                    why="Every score would be NaN.",
                    hint="look at the data, or at how it is normalised",
                )
    return found


@contextmanager
def unmasked_copy(model: nn.Module, *, training: bool) -> Iterator[nn.Module]:
    """A copy with zeros where masks were off, in which every weight gets a gradient.

    Inside, torch's random state may move; afterwards it is as it was.
    """
    twin = remove_masks(copy.deepcopy(model))
    twin.train(training)
    for parameter in twin.parameters():
        parameter.requires_grad_(True)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        yield twin


def gradients(
    twin: nn.Module, names: Sequence[str], batch: Batch, loss: Loss, *, twice: bool = False
) -> dict[str, Tensor]:
    """The gradient of the loss at every named weight of an unmasked model; zero where none.

    Args:
        twin: The model.
        names: Names of weights.
        batch: ``(inputs, targets)``.
        loss: ``loss(outputs, targets)``.
        twice: Whether the gradients are to be differentiated again.
    """
    weights = prunable(twin)
    inputs, targets = batch
    return gradients_along(loss(call(twin, inputs), targets), weights, names, twice=twice)


def gradients_along(
    value: Tensor, weights: dict[str, Tensor], names: Sequence[str], *, twice: bool = False
) -> dict[str, Tensor]:
    """The gradient of a value at the named weights; zero for those it does not depend on."""
    unknown = [name for name in names if name not in weights]
    if unknown:
        raise CompressError(f"'{unknown[0]}' is no weight of this model.", hint="prunable(model)")
    found = torch.autograd.grad(
        value, [weights[name] for name in names], create_graph=twice, allow_unused=True
    )
    return {
        name: torch.zeros_like(weights[name]) if gradient is None else gradient
        for name, gradient in zip(names, found, strict=True)
    }
