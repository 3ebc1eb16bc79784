"""How large the exported network is on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from supple.elastic._call import Network
from supple.elastic._formats._onnx import onnx_bytes
from supple.elastic._formats._safetensors import weights_bytes
from supple.errors import MeasureError
from supple.measure.measurement import Direction, Measure, Measurement, plain_module

__all__ = ["FileSize"]


@dataclass(frozen=True, kw_only=True)
class FileSize(Measure):
    """Bytes of the network's file, made in memory.

    The weights file is the one an export writes, to the byte; the ONNX file is made for the
    example's batch size and without an export's notes, so it can be some bytes smaller. A
    network that is an ONNX file already counts as that file, whatever the format.

    Attributes:
        format: ``"safetensors"`` (weights and buffers) or ``"onnx"`` (with the graph).
        example: Inputs the ONNX graph is recorded with; weights alone need none.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: Less is better.
    """

    format: Literal["safetensors", "onnx"] = "safetensors"
    example: Any = field(default=None, repr=False, compare=False)
    name: str = "file_bytes"
    unit: str = "byte"
    direction: Direction = "min"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in ("safetensors", "onnx"):
            raise MeasureError(
                f"File size of format {self.format!r} was asked for.",
                hint="format='safetensors' or format='onnx'",
            )
        if self.format == "onnx" and self.example is None:
            raise MeasureError(
                "The size of an ONNX file was asked for without an example.",
                why="An ONNX file holds the graph, which is recorded by running the network.",
                hint="FileSize(format='onnx', example=(x,))",
            )

    def measure(self, network: Network) -> Measurement:
        """Serialises ``network`` in memory and counts."""
        ready_made: bytes | None = getattr(network, "onnx_model", None)
        if ready_made is not None:
            return Measurement.exact(len(ready_made), self.unit, format="onnx")
        module = plain_module(network, self.name)
        onnx = self.format == "onnx"
        data = onnx_bytes(module, self.example) if onnx else weights_bytes(module)
        return Measurement.exact(len(data), self.unit, format=self.format)
