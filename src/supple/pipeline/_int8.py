"""Int8 in the main job: bits of layers as choices, and networks quantized as a config says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.quantize.onnx_int8 import OnnxInt8
from supple.compress.quantize.policy import QuantPolicy
from supple.elastic import Elastic
from supple.errors import SearchError, near_misses

__all__ = ["QUANTIZERS", "Int8", "check_quantize"]

QUANTIZERS = ("int8",)


def check_quantize(name: str | None, backend: str) -> None:
    """Raises SearchError for an unknown name, or a backend without int8 kernels."""
    if name is None:
        return
    if name not in QUANTIZERS:
        raise SearchError(
            f"there is no quantization '{name}'.", hint=near_misses(name, QUANTIZERS), name=name
        )
    if backend != "onnxruntime":
        raise SearchError(
            f"quantization to {name} was asked for with the backend '{backend}'.",
            why="Int8 is computed by ONNX Runtime.",
            hint="--backend onnxruntime, with supple[onnx] installed.",
        )


@dataclass(frozen=True, kw_only=True)
class Int8:
    """Which layers may be int8, and how they are made so.

    Args:
        policy: The joint space.
        method: The quantizer.
        threads: Threads of one call.
    """

    policy: QuantPolicy
    method: OnnxInt8
    threads: int = 1

    @classmethod
    def of(cls, net: Elastic, example: Any, *, threads: int) -> Int8:
        """For an elastic network, with the quantizer's defaults."""
        return cls(policy=QuantPolicy.of(net, example), method=OnnxInt8(), threads=threads)

    def deployed(
        self, network: nn.Module, example: Any, layers: Sequence[str], calibration: Iterable[Any]
    ) -> OnnxNetwork:
        """The network as ONNX Runtime runs it, these layers in int8."""
        made = self.method.quantize(record(network, example), layers, calibration)
        made.threads = self.threads
        return made
