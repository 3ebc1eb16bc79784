"""Batch norms folded into the layer before them: the same function, one operation less.

In evaluation y = g (W x + b - m) / sqrt(v + e) + h is again a linear layer, with the weight
W g / sqrt(v + e) and the bias (b - m) g / sqrt(v + e) + h (survey 2103.13630, section IV.A).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from supple.elastic._call import input_arguments
from supple.errors import CompressError
from supple.papers import implements
from supple.trace import Capture, capture

__all__ = ["fold_batch_norm", "foldable_batch_norms"]

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def foldable_batch_norms(network: nn.Module, example: Any) -> dict[str, str]:
    """The batch norms that follow a linear or convolution layer and nothing else: norm -> layer.

    They are found in the traced graph, so it does not matter how the model is written.

    Args:
        network: A model that ``torch.export`` captures.
        example: Inputs of one call.
    """
    args, kwargs = input_arguments(example)
    captured = capture(network, kwargs or args)
    names = {id(part): name for name, part in network.named_modules()}
    calls: dict[str, int] = {}
    pairs: dict[str, str] = {}
    for node in captured.calls:
        owner = _owner(network, captured, node)
        if owner is not None:
            calls[names[id(owner)]] = calls.get(names[id(owner)], 0) + 1
        if not isinstance(owner, _NORMS) or not _can_fold(owner):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or set(before.users) != {node}:
            continue
        layer = _owner(network, captured, before)
        if isinstance(layer, _LINEAR):
            pairs[names[id(owner)]] = names[id(layer)]
    return {n: layer for n, layer in pairs.items() if calls[n] == 1 and calls[layer] == 1}


@implements(61)
def fold_batch_norm(network: nn.Module, example: Any) -> nn.Module:
    """A copy of ``network`` in eval mode whose batch norms are part of the layers before them.

    Args:
        network: A model that ``torch.export`` captures; it is not changed.
        example: Inputs of one call.

    Raises:
        CompressError: The network is quantized: its formats were chosen for the weights it has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.quantize import fold_batch_norm
        >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> folded = fold_batch_norm(network, torch.zeros(2, 1, 8, 8))
        >>> [type(part).__name__ for part in folded]
        ['Conv2d', 'Identity', 'ReLU']
    """
    if any(hasattr(part, "parametrizations") for part in network.modules()):
        raise CompressError(
            f"batch norms of a parametrized {type(network).__name__} cannot be folded.",
            why="Its weights are computed by the parametrization.",
            hint="fold first, then quantize or mask.",
        )
    twin = copy.deepcopy(network).eval()
    for norm_name, layer_name in foldable_batch_norms(twin, example).items():
        norm, layer = twin.get_submodule(norm_name), twin.get_submodule(layer_name)
        _fold(norm, layer)
        twin.set_submodule(norm_name, nn.Identity())
    return twin


def _fold(norm: Any, layer: Any) -> None:
    """Changes the layer to compute the norm too; in double, so that only the result rounds."""
    with torch.no_grad():
        mean, var = norm.running_mean.double(), norm.running_var.double()
        gain = (var + norm.eps).rsqrt()
        if norm.weight is not None:
            gain = gain * norm.weight.double()
        bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
        shift = (bias - mean) * gain
        if norm.bias is not None:
            shift = shift + norm.bias.double()
        weight = layer.weight
        shape = (-1,) + (1,) * (weight.dim() - 1)
        layer.weight = nn.Parameter(
            (weight.double() * gain.reshape(shape)).to(weight), requires_grad=weight.requires_grad
        )
        layer.bias = nn.Parameter(shift.to(weight), requires_grad=weight.requires_grad)


def _can_fold(norm: nn.Module) -> bool:
    return isinstance(getattr(norm, "running_mean", None), Tensor)


def _owner(network: nn.Module, captured: Capture, node: fx.Node) -> nn.Module | None:
    """The module whose weight, or running mean, a call reads."""
    for read in node.all_input_nodes:
        source = captured.sources.get(read)
        if source is not None and source.kind in ("parameter", "buffer"):
            path, _, leaf = source.name.rpartition(".")
            if leaf in ("weight", "running_mean"):
                return network.get_submodule(path)
    return None
