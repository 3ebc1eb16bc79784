"""A quantization policy as part of the space: bits per layer beside widths and depths.

One choice per layer of the full network, 8 or 32 bits; the choice of a layer in a block that a
config leaves out is inactive, so no config is counted or measured twice (SimQ-NAS, catalogue 90,
masks such genes). The weights' mode is not searched: ONNX Runtime's kernels are made for
symmetric weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supple.compress.quantize.onnx_graph import record
from supple.elastic import Elastic
from supple.errors import ConfigError, SpaceError
from supple.papers import implements
from supple.space import Bits, Choice, Condition, Config, Option, Space

__all__ = ["FLOAT", "INT8", "QuantPolicy"]

INT8, FLOAT = 8, 32
SUFFIX = ".bits"


@implements(90)
@dataclass(frozen=True, kw_only=True)
class QuantPolicy:
    """The space of sub-networks and their layers' bits.

    Made by ``QuantPolicy.of(net, example)``.

    Args:
        structure: The space of sub-networks.
        layers: The layers of the full network that may be int8, in the order they run.
        space: Both together: the choices of ``structure``, then ``LAYER.bits`` for each layer.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.elastic import Elastic
        >>> from supple.compress.quantize.policy import QuantPolicy
        >>> x = torch.randn(2, 8)
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
        >>> policy = QuantPolicy.of(Elastic(model, (x,)), (x,))
        >>> policy.layers
        ('0', '2')
        >>> config = policy.config(policy.structure.smallest, int8=["2"])
        >>> policy.int8_layers(config)
        ('2',)
    """

    structure: Space
    layers: tuple[str, ...]
    space: Space

    @classmethod
    def of(cls, net: Elastic, example: Any, *, bits: Sequence[int] = (INT8, FLOAT)) -> QuantPolicy:
        """The joint space of an elastic network.

        Args:
            net: The network.
            example: Inputs of one call.
            bits: What a layer may have: 8, 32, or both.

        Raises:
            SpaceError: Other bits, or no layer of the network can be int8.
            ExportError: The network cannot be recorded as an ONNX graph.
        """
        if not bits or not set(bits) <= {INT8, FLOAT}:
            raise SpaceError(
                f"layers of {tuple(bits)} bits were asked for.",
                why="What ONNX Runtime computes with here is int8 and float32.",
                hint="bits=(8, 32).",
            )
        full = net.extract(net.space.largest, prefer="graph").eval()
        layers = record(full, example).layers
        if not layers:
            raise SpaceError(
                "no layer of this network can be quantized.",
                why="It has no convolution, linear layer or product with a weight.",
                hint="leave quantization out.",
            )
        conditions = _conditions(net, layers)
        choices: dict[str, Choice] = {
            layer + SUFFIX: Bits(options=tuple(sorted(set(bits))), when=conditions.get(layer, ()))
            for layer in layers
        }
        space = Space({**net.space, **choices}, net.space.constraints)
        return cls(structure=net.space, layers=layers, space=space)

    def architecture(self, config: Mapping[str, Option]) -> Config:
        """The config of the sub-network alone."""
        whole = self.space.validate(config)
        return self.structure.validate({name: whole[name] for name in self.structure})

    def bits(self, config: Mapping[str, Option]) -> dict[str, int]:
        """Bits of each layer that the sub-network has."""
        whole = self.space.validate(config)
        return {
            layer: int(whole[layer + SUFFIX])
            for layer in self.layers
            if self.space.is_active(layer + SUFFIX, whole)
        }

    def int8_layers(self, config: Mapping[str, Option]) -> tuple[str, ...]:
        """The layers of the sub-network that are int8."""
        return tuple(layer for layer, bits in self.bits(config).items() if bits == INT8)

    def config(
        self, architecture: Mapping[str, Option], *, int8: Sequence[str] | None = None
    ) -> Config:
        """The joint config of a sub-network with these layers in int8; None for all of them.

        Raises:
            ConfigError: There is no such layer.
        """
        for layer in int8 or ():
            if layer not in self.layers:
                raise ConfigError(
                    f"there is no layer '{layer}' to quantize.",
                    hint=f"the layers are {', '.join(self.layers)}.",
                )
        wanted = self.layers if int8 is None else int8
        bits: dict[str, Option] = {
            layer + SUFFIX: INT8 if layer in wanted else FLOAT for layer in self.layers
        }
        return self.space.canonical({**self.structure.validate(architecture), **bits})


def _conditions(net: Elastic, layers: Sequence[str]) -> dict[str, tuple[Condition, ...]]:
    """When each layer is there: found by looking at what the choices leave out."""
    found: dict[str, tuple[Condition, ...]] = {}
    for name, choice in net.space.items():
        if choice.kind not in ("depth", "swap"):
            continue
        there = {option: _names_with(net, name, option) for option in choice.options}
        for layer in layers:
            options = tuple(o for o in choice.options if _has(layer, there[o]))
            # A layer that two choices may leave out is tied to the last of them, which is the
            # inner one where stages are nested.
            if len(options) < len(choice.options):
                found[layer] = (Condition(choice=name, options=options),)
    return found


def _names_with(net: Elastic, name: str, option: Option) -> frozenset[str]:
    """The parameters of the largest network with one choice set."""
    config = net.space.canonical({**net.space.largest, name: option})
    network = net.extract(config, prefer="graph")
    return frozenset(parameter for parameter, _ in network.named_parameters())


def _has(layer: str, names: frozenset[str]) -> bool:
    return layer in names or f"{layer}.weight" in names
