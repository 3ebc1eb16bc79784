"""SynFlow: how much signal can pass through a network, without any data.

All parameters are made positive, an input of ones is sent through, and the score adds up, over
all parameters, parameter times slope of the summed output. In a network of plain layers that is
the number of layers times the total weight of all paths. Tanaka et al. 2020, "Pruning neural
networks without any data by iteratively conserving synaptic flow" (arXiv 2006.05467); as a score
for whole networks: Abdelfattah et al. 2021 (arXiv 2101.08134).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from supple.elastic._call import Network
from supple.errors import MeasureError
from supple.measure._double_copy import double_copy, doubled, outputs
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["SynFlow"]


@dataclass(frozen=True, kw_only=True)
class SynFlow(Measure):
    """The natural logarithm of the synaptic flow.

    Batch norms pass their input on, scaled by the size of their weight.

    Attributes:
        example: Inputs of the right shape: a tensor, a tuple of arguments or a dict of keyword
            arguments. Floating-point values are replaced by ones; only the first sample is used.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: More flow is better.

    Example:
        >>> layer = torch.nn.Linear(4, 3, bias=False)
        >>> _ = torch.nn.init.constant_(layer.weight, -0.5)
        >>> round(SynFlow(example=torch.zeros(1, 4)).measure(layer).value, 4)  # ln 6
        1.7918
    """

    example: Any = field(repr=False, compare=False)
    name: str = "synflow"
    unit: str = "nat"
    direction: Direction = "max"

    def measure(self, network: Network) -> Measurement:
        """The score of a copy of ``network``."""
        module = double_copy(network, self.name)
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.is_floating_point():
                    parameter.abs_()
            for part in module.modules():
                if isinstance(part, _BatchNorm):
                    _pass_on(part)
        ones = pytree.tree_map_only(Tensor, _ones, doubled(self.example))
        total = outputs(module, ones, self.name).sum()
        parameters = [p for p in module.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(total, parameters, allow_unused=True)
        flow = sum(
            float((p.detach() * slope).sum())
            for p, slope in zip(parameters, slopes, strict=True)
            if slope is not None
        )
        if not flow > 0:
            raise MeasureError(
                f"The synaptic flow of the network is {flow:g}, which has no logarithm.",
                why="No signal passes from the input to the output.",
                hint="is a layer all zeros?",
                measure=self.name,
            )
        return Measurement.exact(float(torch.tensor(flow, dtype=torch.float64).log()), self.unit)


def _ones(tensor: Tensor) -> Tensor:
    return torch.ones_like(tensor[:1]) if tensor.is_floating_point() else tensor[:1]


def _pass_on(norm: nn.Module) -> None:
    """Let a batch norm neither shift nor divide."""
    assert isinstance(norm, _BatchNorm)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0 - norm.eps)
    if norm.bias is not None:
        norm.bias.zero_()
