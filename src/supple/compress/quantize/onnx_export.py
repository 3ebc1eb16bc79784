"""Writing a network whose layers are int8 to a file that is known to compute the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from supple.compress.quantize.onnx_graph import OnnxNetwork
from supple.elastic._call import batch_of, batch_size, call
from supple.elastic._formats._compare import largest_difference
from supple.elastic._formats._onnx import session
from supple.elastic._formats._placing import placing, write_bytes
from supple.elastic.export import ExportReport
from supple.errors import ExportError

__all__ = ["export_onnx"]


def export_onnx(
    network: OnnxNetwork,
    path: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Writes the network as ``.onnx``, reads the file back and compares.

    The file must give exactly what the network gave when it was measured. How far that is from
    the network in floats is told in the report's notes: quantization changes outputs.

    Args:
        network: The quantized network.
        path: Where to write, ``.onnx``.
        config: The config it was made at; stored in the file.
        metadata: Anything JSON-able; stored in the file.

    Raises:
        ExportError: Another format was asked for, the file cannot be written, or it computes
            something else.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ExportError(
            f"a network with int8 layers cannot be written to '{path.name}'.",
            why="Its integers are computed by ONNX Runtime, which reads .onnx files.",
            hint=f"name the file '{path.stem}.onnx'.",
        )
    graph = network.graph
    notes = {
        "config": None if config is None else dict(config),
        "int8_layers": list(network.int8_layers),
        "metadata": dict(metadata or {}),
    }
    with placing(path) as temporary:
        write_bytes(temporary, _with_notes(network.onnx_model, notes))
        batches, apart = _compared(network, temporary)
        size = temporary.stat().st_size
    layers = len(network.int8_layers)
    return ExportReport(
        path=path,
        format="onnx",
        files=(path,),
        file_bytes=size,
        batches=batches,
        any_batch=graph.any_batch,
        largest_difference=0.0,
        notes=(
            f"{layers} of {len(graph.layers)} layers are int8; the outputs are within {apart:.2g} "
            "of the same network in floats.",
        ),
    )


def _with_notes(model: bytes, notes: Mapping[str, Any]) -> bytes:
    import onnx

    loaded = onnx.load_model_from_string(model)
    onnx.helper.set_model_props(loaded, {"supple": json.dumps(notes)})
    data: bytes = loaded.SerializeToString()
    return data


def _compared(network: OnnxNetwork, file: Path) -> tuple[tuple[int, ...], float]:
    """The batch sizes compared at, and the largest difference to the network in floats."""
    graph = network.graph
    own, worst = batch_size(graph.example), 0.0
    sizes = (own, own + 1, own + 4) if graph.any_batch else (own,)
    opened = session(file, threads=network.threads)
    for size in sizes:
        inputs = batch_of(graph.example, size, seed=size)
        found = [torch.from_numpy(a) for a in opened.run(None, network.feeds(inputs))]
        difference = largest_difference(found, call(network, inputs))
        if difference.size != 0:
            raise ExportError(
                f"'{file.name}' is not the network that was measured: it differs by "
                f"{difference.size:.3g} at batch {size}.",
                why=f"The largest difference is in {difference.where}.",
                hint="this is a defect of the exporter; export without quantization.",
                difference=difference.size,
                batch=size,
            )
        with torch.no_grad():
            worst = max(worst, largest_difference(found, call(graph.network, inputs)).size)
    return sizes, worst
