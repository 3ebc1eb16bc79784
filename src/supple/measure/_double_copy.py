"""A copy of a network to take slopes of: in float64, in eval mode, the original left alone."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._call import Network, call
from supple.errors import MeasureError
from supple.measure.measurement import plain_module

__all__ = ["double_copy", "doubled", "outputs"]


def double_copy(network: Network, measure: str) -> nn.Module:
    """The network again, in float64 and eval mode, all its parameters with a slope."""
    module = copy.deepcopy(plain_module(network, measure)).to(torch.float64).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return module


def doubled(example: Any) -> Any:
    """An example with its floating-point tensors in float64, cut off from any slope."""
    return pytree.tree_map_only(
        Tensor,
        lambda t: t.detach().to(torch.float64) if t.is_floating_point() else t.detach(),
        example,
    )


def outputs(module: nn.Module, example: Any, measure: str) -> Tensor:
    """What the module gives, one row for each sample, shape (batch, outputs).

    Raises:
        MeasureError: If it does not give one tensor with a row for each sample.
    """
    found = call(module, example)
    if not isinstance(found, Tensor) or not found.dim():
        raise MeasureError(
            f"Measure '{measure}' needs a network that gives one tensor, got "
            f"{type(found).__name__}.",
            hint="wrap the network so that it returns its scores.",
            measure=measure,
        )
    return found.reshape(len(found), -1)
