"""What formats save: stored bits and bit operations, layer by layer.

Counts, not times. Floats on a grid run no faster than other floats: what a format saves in time
shows when an exported file computes in integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supple.compress.quantize.activations import ActivationQuantizer
from supple.compress.quantize.network import quantizable_layers, weight_quantizers
from supple.elastic._call import call, evaluating

__all__ = ["LayerBits", "QuantizationReport", "quantization_report"]

FLOAT_BITS = 32


@dataclass(frozen=True, kw_only=True)
class LayerBits:
    """One layer's formats and what they count.

    Attributes:
        layer: Its qualified name.
        weights: How many values its weight has.
        weight_format: The quantizer's settings, or "float32".
        weight_bits: Bits of a weight's code; 32 where it is a float.
        stored_bits: Of the weight: codes, scales and codebooks.
        activation_bits: Of the layer's input.
        macs: Multiply-adds on the example.
        bit_operations: ``macs · weight_bits · activation_bits``, as the literature counts.
    """

    layer: str
    weights: int
    weight_format: str
    weight_bits: float
    stored_bits: float
    activation_bits: float
    macs: int
    bit_operations: float


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """All layers, and the parameters that stay floats.

    Attributes:
        layers: One entry for each layer whose weight can be quantized.
        other_bits: Bits of all other parameters and buffers.
        is_simulated: Always true here: the network computes in floats on the formats' grids.
    """

    layers: tuple[LayerBits, ...]
    other_bits: int
    is_simulated: bool = True

    @property
    def stored_bytes(self) -> float:
        """Bytes of everything, packed."""
        return (sum(layer.stored_bits for layer in self.layers) + self.other_bits) / 8

    @property
    def float_bytes(self) -> float:
        """Bytes of the same as float32."""
        return (sum(layer.weights for layer in self.layers) * FLOAT_BITS + self.other_bits) / 8

    @property
    def bit_operations(self) -> float:
        """Of one pass on the example."""
        return sum(layer.bit_operations for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """All as JSON-able data."""
        return {
            **asdict(self), "stored_bytes": self.stored_bytes, "float_bytes": self.float_bytes,
            "bit_operations": self.bit_operations,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [
            f"{layer.layer}: {layer.weights:,} weights at {layer.weight_bits:g} bits, "
            f"inputs at {layer.activation_bits:g}"
            for layer in self.layers
        ]
        lines.append(
            f"{self.stored_bytes:,.0f} bytes packed, {self.float_bytes:,.0f} as floats; "
            "simulated in floats: no time is saved before an export to integers"
        )
        return "\n".join(lines)


def quantization_report(network: nn.Module, example: Any) -> QuantizationReport:
    """Formats, sizes and operations of a network, quantized or not.

    Args:
        network: It is run once, in eval mode.
        example: Inputs of one call.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import quantization_report, quantize_, Uniform
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False))
        >>> _ = quantize_(network, weight=Uniform(bits=4, granularity="tensor"))
        >>> report = quantization_report(network, torch.ones(1, 64))
        >>> report.float_bytes, report.stored_bytes
        (16384.0, 2052.0)
    """
    quantizers, layers = weight_quantizers(network), quantizable_layers(network)
    macs = _macs(network, layers, example)
    found, counted = [], set()
    for name, layer in layers.items():
        weight: Any = layer.weight
        quantizer = quantizers.get(name)
        bits = FLOAT_BITS if quantizer is None else quantizer.code_bits
        stored = weight.numel() * bits if quantizer is None else quantizer.stored_bits(weight.shape)
        inputs = getattr(layer, "input_quantizer", None)
        in_bits = inputs.quantizer.bits if isinstance(inputs, ActivationQuantizer) else FLOAT_BITS
        found.append(
            LayerBits(
                layer=name,
                weights=weight.numel(),
                weight_format="float32" if quantizer is None else str(quantizer),
                weight_bits=bits,
                stored_bits=stored,
                activation_bits=in_bits,
                macs=macs[name],
                bit_operations=macs[name] * bits * in_bits,
            )
        )
        counted |= {id(tensor) for tensor in _own(layer)}
    others = [t for t in [*network.parameters(), *network.buffers()] if id(t) not in counted]
    other_bits = sum(t.numel() * t.element_size() * 8 for t in others)
    return QuantizationReport(layers=tuple(found), other_bits=other_bits)


def _own(layer: nn.Module) -> Iterator[Tensor]:
    """The stored weight, under whatever name a parametrization keeps it."""
    for name, tensor in layer.named_parameters():
        if name == "weight" or name.startswith("parametrizations.weight."):
            yield tensor


def _macs(network: nn.Module, layers: dict[str, nn.Module], example: Any) -> dict[str, int]:
    macs = dict.fromkeys(layers, 0)

    def counter(name: str) -> Any:
        def count(layer: Any, inputs: Any, output: Tensor) -> None:
            if not isinstance(layer, nn.Embedding):
                # Outputs times what one of them sums over: the values of one output channel.
                macs[name] += output.numel() * (layer.weight.numel() // layer.weight.shape[0])

        return count

    hooks = [layer.register_forward_hook(counter(name)) for name, layer in layers.items()]
    try:
        with evaluating(network), torch.no_grad():
            call(network, example)
    finally:
        for hook in hooks:
            hook.remove()
    return macs
