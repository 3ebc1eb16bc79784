"""The oracle of cutting: a network in which what is left out is zero instead of absent.

It follows the axis expressions itself and shares no code with what cuts weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from supple.elastic import Elastic

__all__ = ["zeroed"]


def zeroed(net: Elastic, model: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """A copy of ``model`` with every weight of an index beyond the config's sizes set to zero."""
    model = copy.deepcopy(model)
    weights = dict(model.named_parameters(remove_duplicate=False))
    gone = {
        axis.axis: torch.arange(axis.size) >= int(config.get(axis.name, axis.size))
        for axis in net.structure.axes
    }
    with torch.no_grad():
        for name in net.structure.parameters:
            for dim, axis in enumerate(net.structure.analysis.stored[name]):
                mask = _mask(axis, gone)
                shape = [1] * weights[name].dim()
                shape[dim] = len(mask)
                weights[name].masked_fill_(mask.view(shape), 0.0)
    return model


def _mask(axis: Any, gone: Mapping[Any, Tensor]) -> Tensor:
    """Whether each position along an axis belongs to an index that is gone."""
    root = axis.find()
    if root.kind == "atom":
        return gone.get(root, torch.zeros(root.size, dtype=torch.bool))
    masks = [_mask(part, gone) for part in root.parts]
    if root.kind == "concat":
        return torch.cat(masks)
    grid = torch.zeros((), dtype=torch.bool)
    for i, mask in enumerate(masks):
        shape = [1] * len(masks)
        shape[i] = len(mask)
        grid = grid | mask.view(shape)
    return grid.flatten()
