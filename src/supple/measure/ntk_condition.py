"""Condition of the neural tangent kernel: how unevenly a network learns its samples.

The kernel of two samples is the product of the slopes of their summed outputs by all parameters;
the largest over the smallest of its eigenvalues says how much slower the hardest direction is
learned than the easiest. Chen, Gong, Wang 2021, "Neural Architecture Search on ImageNet in Four
GPU Hours" (TE-NAS, arXiv 2102.11535).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from supple.elastic._call import Network
from supple.measure._double_copy import double_copy, doubled, outputs
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["NTKCondition"]


@dataclass(frozen=True, kw_only=True)
class NTKCondition(Measure):
    """The natural logarithm of the condition number of the neural tangent kernel of one batch.

    In eval mode, so that samples do not see each other. Eigenvalues below 1e-12 of the largest
    count as that: the figure is at most 27.6.

    Attributes:
        example: Inputs of the batch; some dozens of samples are enough.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: A smaller condition is better.

    Example:
        >>> layer = torch.nn.Linear(2, 1, bias=False)
        >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> round(NTKCondition(example=batch).measure(layer).value, 4)  # ln 4
        1.3863
    """

    example: Any = field(repr=False, compare=False)
    name: str = "ntk_condition"
    unit: str = "nat"
    direction: Direction = "min"

    def measure(self, network: Network) -> Measurement:
        """The figure of a copy of ``network``."""
        module = double_copy(network, self.name)
        sums = outputs(module, doubled(self.example), self.name).sum(dim=1)
        parameters = [p for p in module.parameters() if p.requires_grad]
        rows = [_slope(value, parameters) for value in sums]
        slopes = torch.stack(rows)
        values = torch.linalg.eigvalsh(slopes @ slopes.T)
        largest = float(values[-1])
        smallest = max(float(values[0]), 1e-12 * largest)
        if not largest > 0:
            return Measurement.exact(0.0, self.unit)
        return Measurement.exact(math.log(largest / smallest), self.unit)


def _slope(value: Tensor, parameters: list[torch.nn.Parameter]) -> Tensor:
    slopes = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([
        (torch.zeros_like(p) if s is None else s).reshape(-1)
        for p, s in zip(parameters, slopes, strict=True)
    ])  # fmt: skip
