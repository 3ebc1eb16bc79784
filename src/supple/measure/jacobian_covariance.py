"""Jacobian covariance: whether a network tells samples apart before it is trained.

The slopes of the summed outputs by the input are correlated between samples. The nearer their
correlation matrix is to the identity, the larger the score, minus the sum over its eigenvalues v of
log(v + k) + 1 / (v + k). Mellor et al. 2020, "Neural Architecture Search without Training" (arXiv
2006.04647, first version), as in Abdelfattah et al. 2021 (arXiv 2101.08134).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from supple.elastic._call import Network
from supple.errors import MeasureError
from supple.measure._double_copy import double_copy, doubled, outputs
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["JacobianCovariance"]

# k of the formula.
SMALLEST = 1e-5


@dataclass(frozen=True, kw_only=True)
class JacobianCovariance(Measure):
    """The score of how little the slopes of different samples have in common.

    Attributes:
        example: Inputs of the batch, at least two samples of floating-point numbers.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: More is better.

    Example:
        >>> layer = torch.nn.Linear(2, 1)  # the same slope everywhere: samples look alike
        >>> score = JacobianCovariance(example=torch.rand(2, 2)).measure(layer).value
        >>> bool(score < -90_000)
        True
    """

    example: Any = field(repr=False, compare=False)
    name: str = "jacobian_covariance"
    unit: str = "score"
    direction: Direction = "max"

    def measure(self, network: Network) -> Measurement:
        """The score of a copy of ``network``."""
        module = double_copy(network, self.name)
        example = doubled(self.example)
        inputs = [t for t in pytree.tree_leaves(example) if _has_slope(t)]
        if not inputs or len(inputs[0]) < 2:
            raise MeasureError(
                f"Measure '{self.name}' needs at least two samples of floating-point numbers.",
                hint="for a network that reads whole numbers, measure it from its embeddings on.",
                measure=self.name,
            )
        for tensor in inputs:
            tensor.requires_grad_()
        total = outputs(module, example, self.name).sum()
        slopes = torch.autograd.grad(total, inputs, allow_unused=True)
        rows = torch.cat([s.reshape(len(s), -1) for s in slopes if s is not None], dim=1)
        return Measurement.exact(_score(rows), self.unit)


def _has_slope(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _score(rows: Tensor) -> float:
    """The score of the slopes of samples, shape (samples, inputs)."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    unit = centred / length.clamp_min(torch.finfo(rows.dtype).tiny)
    values = torch.linalg.eigvalsh(unit @ unit.T).clamp_min(0.0) + SMALLEST
    return -float((values.log() + 1.0 / values).sum())
