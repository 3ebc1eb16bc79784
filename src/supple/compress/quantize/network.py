"""Quantization of a network: which layers, in which format, with which ranges.

After `quantize_` the network computes with values that the formats can hold, in floats. Trained
on, it is quantization-aware training (gradients go straight through the rounding); left as it is,
quantization after training. `bake_` writes the values into the weights for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from supple.compress.quantize._quantizer import Quantizer
from supple.compress.quantize.activations import ActivationQuantizer, Observer, RangeMode
from supple.compress.quantize.uniform import Uniform
from supple.elastic._call import call, evaluating
from supple.errors import CompressError, DataError, SuppleError, near_misses
from supple.papers import implements

__all__ = ["bake_", "calibrate", "quantizable_layers", "quantize_", "weight_quantizers"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
"""Layers whose weights are quantized; dimension 0 of their weights is the output channel."""


class _Weight(nn.Module):
    """The parametrization of a weight by its quantized values."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, weight: Tensor) -> Tensor:
        return self.quantizer(weight)

    def extra_repr(self) -> str:
        return str(self.quantizer)


def quantizable_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that `quantize_` takes, by qualified name, in order.

    Example:
        >>> from torch import nn
        >>> from supple.compress.quantize import quantizable_layers
        >>> list(quantizable_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
        ['0', '2']
    """
    return {name: part for name, part in network.named_modules() if isinstance(part, LAYERS)}


@implements(61)
def quantize_(
    network: nn.Module,
    *,
    weight: Quantizer | None = None,
    activation: Uniform | None = None,
    mode: RangeMode = "static",
    calibration: Iterable[Any] | None = None,
    skip: Iterable[str] = (),
    layers: Mapping[str, Quantizer | None] | None = None,
) -> list[str]:
    """Quantizes the weights of a network, and what flows into its layers, in place.

    Args:
        network: Any module; its `torch.nn` linear, convolution and embedding layers are taken.
        weight: The format of the weights; None leaves them.
        activation: The format of each layer's input; None leaves it. An embedding's stays.
        mode: Where the activations' ranges come from.
        calibration: Batches of inputs for ``mode="static"``; or call `calibrate` later.
        skip: Names of layers to leave, often the first and the last.
        layers: Formats of single layers' weights by name, before ``weight``; None leaves one.

    Returns:
        The names of the layers that were quantized.

    Raises:
        CompressError: A name is not there, nothing is left to quantize, or it is quantized already.
        DataError: A batch of calibration does not fit, or holds NaN.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import quantize_, Uniform
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
        >>> quantize_(network, weight=Uniform(bits=4), skip=["0"])
        ['1']
        >>> network[1].weight.unique().numel() <= 2 * 15
        True
    """
    found, special = quantizable_layers(network), dict(layers or {})
    _check_names(found, [*skip, *special])
    if weight_quantizers(network) or _activation_quantizers(network):
        raise CompressError(
            f"the {type(network).__name__} is quantized already.",
            why="Formats on top of formats would round twice.",
            hint="quantize the original network, or bake_ this one first.",
        )
    leave = set(skip)
    names = [name for name in found if name not in leave]
    for name in names:
        layer, quantizer = found[name], special.get(name, weight)
        if quantizer is not None:
            quantizer.rows(_weight_of(layer))  # sizes that do not fit are named before any change
    if not names:
        raise CompressError(
            f"the {type(network).__name__} has no layer to quantize.",
            why=f"It has {len(found)} linear, convolution or embedding layers, all skipped."
            if found
            else "It has no linear, convolution or embedding layer of torch.nn.",
            hint="skip fewer layers.",
        )
    for name in names:
        layer, quantizer = found[name], special.get(name, weight)
        if quantizer is not None:
            parametrize.register_parametrization(layer, "weight", _Weight(quantizer), unsafe=True)
        if activation is not None and not isinstance(layer, nn.Embedding):
            layer.input_quantizer = ActivationQuantizer(activation, mode=mode)
            layer.register_forward_pre_hook(_quantize_input)
    if calibration is not None:
        calibrate(network, calibration)
    return names


def _quantize_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    quantizer = layer.input_quantizer
    assert isinstance(quantizer, ActivationQuantizer)
    return (quantizer(inputs[0]), *inputs[1:])


def calibrate(network: nn.Module, batches: Iterable[Any], *, seed: int = 0) -> None:
    """Fixes the static ranges of activations from batches of inputs.

    Args:
        network: What `quantize_` returned; its mode is left as it is.
        batches: Inputs: tensors, tuples of arguments or dicts of keyword arguments.
        seed: Of the sample that long batches are cut to.

    Raises:
        CompressError: The network has no static range.
        DataError: There is no batch, one does not fit the network, or one holds NaN.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import calibrate, quantize_, Uniform
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> _ = quantize_(network, activation=Uniform(symmetric=False))
        >>> calibrate(network, [torch.ones(8, 4)])
        >>> network[0].input_quantizer.is_calibrated
        True
    """
    quantizers = {
        name: one for name, one in _activation_quantizers(network).items() if one.mode == "static"
    }
    if not quantizers:
        raise CompressError(
            "there is nothing to calibrate.",
            why="The network has no static range of activations.",
            hint='quantize_(network, activation=Uniform(...), mode="static").',
        )
    for quantizer in quantizers.values():
        quantizer.observer = Observer(seed=seed)
    try:
        _observe(network, batches)
        ranges = {
            name: quantizer.observer.range(quantizer.quantizer)
            for name, quantizer in quantizers.items()
            if quantizer.observer is not None and quantizer.observer._parts
        }
    finally:
        for quantizer in quantizers.values():
            quantizer.observer = None
    for name, (low, high) in ranges.items():
        quantizers[name].set_range(low, high)


def _observe(network: nn.Module, batches: Iterable[Any]) -> None:
    number = -1
    with evaluating(network), torch.no_grad():
        for number, batch in enumerate(batches):
            try:
                call(network, batch)
            except SuppleError as error:
                raise DataError(
                    f"batch {number} of the calibration: {error.message}",
                    hint="look at the batch, and at what the network makes of it.",
                    batch=number,
                ) from None
            except Exception as error:
                raise DataError(
                    f"batch {number} of the calibration does not fit the network: {error}",
                    hint="batches of inputs alone, as the network is called: no targets.",
                    batch=number,
                ) from error
    if number < 0:
        raise DataError("the calibration has no batch.", hint="one batch of inputs or more.")


def bake_(network: nn.Module) -> nn.Module:
    """Writes the quantized values into the weights and takes the parametrizations off, in place.

    Quantizers of activations stay: they are part of what the network computes.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import bake_, quantize_, Uniform
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 2))
        >>> _ = quantize_(network, weight=Uniform(bits=2))
        >>> sorted(bake_(network).state_dict())
        ['0.bias', '0.weight']
    """
    for part in list(network.modules()):
        if _quantizer_of(part) is not None:
            _bake(part)
    return network


def _bake(layer: Any) -> None:
    if len(layer.parametrizations) > 1:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return
    # Not through remove_parametrizations: it takes the weight off the class, which copies of the
    # network share.
    original = layer.parametrizations["weight"].original
    value = layer.weight.detach().clone()
    del layer.parametrizations
    layer.__class__ = type(layer).__bases__[0]
    with torch.no_grad():
        original.copy_(value)
    layer.register_parameter("weight", original)


def weight_quantizers(network: nn.Module) -> dict[str, Quantizer]:
    """The formats of the weights by the name of the layer."""
    found = ((name, _quantizer_of(part)) for name, part in network.named_modules())
    return {name: quantizer for name, quantizer in found if quantizer is not None}


def _quantizer_of(part: nn.Module) -> Quantizer | None:
    if not parametrize.is_parametrized(part, "weight"):
        return None
    steps: Any = part.parametrizations
    for step in steps["weight"]:
        if isinstance(step, _Weight):
            return step.quantizer
    return None


def _activation_quantizers(network: nn.Module) -> dict[str, ActivationQuantizer]:
    return {
        name.removesuffix(".input_quantizer"): part
        for name, part in network.named_modules()
        if isinstance(part, ActivationQuantizer)
    }


def _weight_of(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _check_names(found: Mapping[str, nn.Module], names: Iterable[str]) -> None:
    for name in names:
        if name not in found:
            raise CompressError(
                f"there is no layer '{name}' to quantize.", hint=near_misses(name, found)
            )
