"""The tensors of a model, copied once, with the names that tied ones share.

Parameters are the model's own as long as the network is only checked: the gradients and outputs
that are compared then take memory enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supple.elastic._skeleton import hold
from supple.trace import Capture

__all__ = ["Names", "own_parameters", "share_weights"]


@dataclass(frozen=True)
class Names:
    """The names of everything a network stores.

    Attributes:
        canonical: The first name of every tensor, by each of its names.
        parameters: Canonical names of the parameters, in model order.
        buffers: Canonical names of the buffers and constants, with whether they belong to the
            state dict.
        persistent: The buffers' names, all of them, that belong to the state dict.
    """

    canonical: dict[str, str]
    parameters: tuple[str, ...]
    buffers: dict[str, bool]
    persistent: frozenset[str]

    def aliases(self, wanted: Iterable[str]) -> dict[str, str]:
        """All names, with their canonical ones, of the tensors with these canonical names."""
        chosen = set(wanted)
        return {name: first for name, first in self.canonical.items() if first in chosen}


def share_weights(net: nn.Module, model: nn.Module, captures: Iterable[Capture]) -> Names:
    """Gives a network a model's parameters and copies of its buffers and constants.

    All are tied as there. The parameters are not to be changed before `own_parameters`.
    """
    first: dict[int, str] = {}
    canonical: dict[str, str] = {}
    copied: dict[str, nn.Parameter | Tensor] = {}
    parameters: dict[str, nn.Parameter] = {}
    buffers: dict[str, tuple[Tensor, bool]] = {}
    persistent = set(model.state_dict().keys())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        key = canonical[name] = first.setdefault(id(parameter), name)
        parameters[name] = parameters.get(key, parameter)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        key = canonical[name] = first.setdefault(id(buffer), name)
        copied.setdefault(key, buffer.detach().clone())
        buffers[name] = (copied[key], name in persistent)
    for one in captures:
        for name, constant in one.constants.items():
            if name not in canonical:
                canonical[name] = name
                buffers[name] = (constant.detach().clone(), False)
    hold(net, parameters, buffers)
    return Names(
        canonical=canonical,
        parameters=tuple(n for n in parameters if canonical[n] == n),
        buffers={n: kept for n, (_, kept) in buffers.items() if canonical[n] == n},
        persistent=frozenset(n for n, (_, kept) in buffers.items() if kept),
    )


def own_parameters(net: nn.Module) -> None:
    """Puts copies in place of the parameters that a network shares with its model."""
    twins: dict[nn.Parameter, nn.Parameter] = {}
    for part in net.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                if parameter not in twins:
                    twins[parameter] = _twin(parameter)
                part._parameters[name] = twins[parameter]


def _twin(parameter: nn.Parameter) -> nn.Parameter:
    value = parameter.detach().clone(memory_format=torch.preserve_format)
    return nn.Parameter(value, requires_grad=parameter.requires_grad)
