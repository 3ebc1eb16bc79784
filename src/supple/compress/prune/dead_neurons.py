"""How many units are off (paper 5): zero outputs of ReLU, for all inputs or for the present one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic._call import call, evaluating
from supple.errors import CompressError, DataError
from supple.papers import implements

__all__ = ["DeadNeurons", "dead_neurons"]


@dataclass(frozen=True, kw_only=True)
class DeadNeurons:
    """Shares of the outputs of ReLU that are zero.

    Attributes:
        rate: Mean share that is zero for an input.
        static: Share that is zero for every input.
        layers: ``rate`` by the name of the ReLU module.
    """

    rate: float
    static: float
    layers: Mapping[str, float]

    @property
    def dynamic(self) -> float:
        """Mean share that is zero for an input, less what is zero for every one."""
        return self.rate - self.static


@implements(5)
def dead_neurons(model: nn.Module, inputs: Iterable[Any]) -> DeadNeurons:
    """The share of units that ReLU switches off, in evaluation mode.

    The paper splits it in a static and a dynamic part; here static is what is off for all inputs
    given, and dynamic the rest. A unit is one output of one ReLU: a channel at a position.

    Args:
        model: A network with ``nn.ReLU`` modules; it is not changed.
        inputs: Batches of inputs.

    Raises:
        CompressError: It has no ``nn.ReLU``.
        DataError: There are no inputs.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.prune import dead_neurons
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> found = dead_neurons(model, [torch.tensor([[1.0, 0.0], [2.0, 0.0]])])
        >>> found.rate, found.static, found.dynamic
        (0.5, 0.5, 0.0)
    """
    twin = copy.deepcopy(model)
    zeros: dict[str, list[Tensor]] = {}
    for name, module in twin.named_modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

            def note(_: nn.Module, args: Any, output: Tensor, name: str = name) -> None:
                zeros.setdefault(name, []).append((output == 0).flatten(1))

            module.register_forward_hook(note)
    if not any(isinstance(module, nn.ReLU) for module in twin.modules()):
        raise CompressError(
            f"{type(model).__name__} has no nn.ReLU module.",
            why="Units are dead where a ReLU gives zero; others do not.",
            hint="use nn.ReLU() modules instead of functions",
        )
    batches = list(inputs)
    if not batches:
        raise DataError("dead neurons were asked for without inputs.", hint="at least one batch")
    with evaluating(twin):
        for batch in batches:
            call(twin, batch)
    found = {name: torch.cat(parts) for name, parts in zeros.items()}
    units = sum(part.shape[1] for part in found.values())
    rate = sum(float(part.double().mean(0).sum()) for part in found.values()) / units
    static = sum(int(part.all(0).sum()) for part in found.values()) / units
    layers = {name: float(part.double().mean()) for name, part in found.items()}
    return DeadNeurons(rate=rate, static=static, layers=layers)
