"""Gradient norm: how strongly one batch pulls at the parameters of a network.

The sum, over all parameter tensors, of the length of the slope of the loss. Abdelfattah et al.
2021, "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from supple.elastic._call import Network
from supple.measure._double_copy import double_copy, doubled, outputs
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["GradientNorm"]


@dataclass(frozen=True, kw_only=True)
class GradientNorm(Measure):
    """The summed length of the slopes of the loss on one batch.

    Attributes:
        example: Inputs of the batch.
        targets: What they should give.
        loss: The loss of outputs, shape (batch, outputs), and targets.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: More is better.

    Example:
        >>> layer = torch.nn.Linear(2, 1, bias=False)
        >>> norm = GradientNorm(
        ...     example=torch.tensor([[3.0, 4.0]]), targets=None, loss=lambda out, _: out.sum()
        ... )
        >>> norm.measure(layer).value
        5.0
    """

    example: Any = field(repr=False, compare=False)
    targets: Any = field(repr=False, compare=False)
    loss: Callable[[Tensor, Any], Tensor] = cross_entropy
    name: str = "gradient_norm"
    unit: str = "slope"
    direction: Direction = "max"

    def measure(self, network: Network) -> Measurement:
        """The score of a copy of ``network``."""
        module = double_copy(network, self.name)
        lost = self.loss(outputs(module, doubled(self.example), self.name), doubled(self.targets))
        parameters = [p for p in module.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(lost, parameters, allow_unused=True)
        total = sum(float(slope.norm()) for slope in slopes if slope is not None)
        return Measurement.exact(total, self.unit)
