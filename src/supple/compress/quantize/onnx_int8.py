"""Int8 that is computed as int8: chosen layers of a network, quantized for ONNX Runtime.

Static post-training quantization: weights with one symmetric scale per output channel,
activations as unsigned bytes with one scale per tensor, their ranges taken from calibration data.
What lies between two int8 layers (additions, activations, pooling) stays in int8 too. The policy
of which layers are int8 is what SimQ-NAS (catalogue 90) searches together with the structure; its
code quantizes with Intel's tool, here it is ONNX Runtime's, whose kernels run on any CPU.
"""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from supple.compress.quantize.onnx_graph import LAYER_OPS, OnnxGraph, OnnxNetwork
from supple.elastic._call import batch_size
from supple.elastic._formats._onnx import named_inputs
from supple.errors import DataError, ExportError, near_misses
from supple.papers import implements

__all__ = ["OnnxInt8", "has_int8_kernels"]

# What may stay in int8 between layers: it costs no precision of its own.
BETWEEN_OPS = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Flatten",
        "GlobalAveragePool",
        "MaxPool",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")


@implements(90)
@dataclass(frozen=True, kw_only=True)
class OnnxInt8:
    """Static int8 quantization of chosen layers, run by ONNX Runtime on the CPU.

    q = clip(round(x / s) + z): weights in [-127, 127] with z = 0 and s per output channel,
    activations in [0, 255].

    Args:
        method: How the range of an activation follows from its calibration values: all of them
            (``minmax``), the range that keeps most information (``entropy``, Kullback-Leibler),
            or without the farthest 0.001 % (``percentile``).
        samples: Calibration samples at most; ranges of more change little.
        per_channel: One scale for each output channel of a weight, or one for all of it.
        between: Whether additions, activations and pooling between int8 layers stay in int8.
        reduce_range: Weights of 7 bits, so that sums of products do not overflow 16 bits on
            processors without VNNI instructions; None asks this machine.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.quantize.onnx_graph import record
        >>> from supple.compress.quantize.onnx_int8 import OnnxInt8
        >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
        >>> network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
        >>> small = OnnxInt8().quantize(record(network, (x[:1],)), ["0", "2"], [(x, None)])
        >>> bool((small(x) - network(x)).abs().max() < 0.1)
        True
    """

    method: Method = "minmax"
    samples: int = 512
    per_channel: bool = True
    between: bool = True
    reduce_range: bool | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ExportError(
                f"there is no calibration method {self.method!r}.",
                hint=near_misses(str(self.method), METHODS),
            )
        if self.samples < 1:
            raise ExportError(f"OnnxInt8 was given samples={self.samples!r}.", hint="samples=512.")

    def quantize(
        self, graph: OnnxGraph, layers: Iterable[str], calibration: Iterable[Any]
    ) -> OnnxNetwork:
        """The network with these layers in int8; with none, the graph as it is.

        Args:
            graph: The recorded network.
            layers: Names of layers, of ``graph.layers``.
            calibration: Batches ``(inputs, targets)``; only inputs are used. Not those that the
                result is measured on.

        Raises:
            ExportError: A layer is not in the graph.
            DataError: There is no calibration data, or it holds NaN.
        """
        chosen = tuple(dict.fromkeys(layers))
        for layer in chosen:
            if layer not in graph.nodes:
                raise ExportError(
                    f"there is no layer '{layer}' to quantize.",
                    hint=near_misses(layer, graph.layers),
                    layer=layer,
                )
        if not chosen:
            return OnnxNetwork(graph)
        reader = _Reader(graph, calibration, self.samples)
        with tempfile.TemporaryDirectory(prefix="supple-int8-") as folder:
            model = self._quantized(graph, chosen, reader, Path(folder))
        return OnnxNetwork(graph, model, int8_layers=chosen)

    def _quantized(
        self, graph: OnnxGraph, layers: tuple[str, ...], reader: _Reader, folder: Path
    ) -> bytes:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata

        model = onnx.load_model_from_string(graph.model)
        add_pre_process_metadata(model)  # else it asks for a step that recording has done
        nodes = [graph.nodes[layer] for layer in layers]
        if self.between:
            nodes += _between(model.graph, set(nodes))
        before, after = folder / "float.onnx", folder / "int8.onnx"
        onnx.save(model, before)
        narrow = not has_int8_kernels() if self.reduce_range is None else self.reduce_range
        with _quiet():
            quantization.quantize_static(
                before,
                after,
                reader,
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[*LAYER_OPS, *sorted(BETWEEN_OPS)],
                nodes_to_quantize=nodes,
                per_channel=self.per_channel,
                reduce_range=narrow,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=_method(self.method),
            )
        return after.read_bytes()


class _Reader:
    """Calibration batches as the session that records ranges takes them."""

    def __init__(self, graph: OnnxGraph, batches: Iterable[Any], samples: int) -> None:
        self._feeds = iter(_feeds(graph, batches, samples))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None after the last."""
        return next(self._feeds, None)


def _feeds(graph: OnnxGraph, batches: Iterable[Any], samples: int) -> list[dict[str, Any]]:
    import numpy as np

    wanted = set(OnnxNetwork(graph).feeds(graph.example))
    feeds, seen = [], 0
    for inputs, _ in batches:
        for part in [inputs] if graph.any_batch else _of_size(inputs, batch_size(graph.example)):
            named = {
                name: tensor.detach().cpu().contiguous().numpy()
                for name, tensor in named_inputs(graph.network, part).items()
                if name in wanted
            }
            if any(np.isnan(a).any() for a in named.values() if a.dtype.kind == "f"):
                raise DataError(
                    "the calibration data holds NaN.",
                    why="The range of an activation would not be a number.",
                    hint="leave the samples with NaN out.",
                )
            feeds.append(named)
            seen += batch_size(part)
            if seen >= samples:
                return feeds
    if not feeds:
        raise DataError(
            "there is no calibration data.",
            why="The ranges of activations come from it.",
            hint="pass some training batches, (inputs, targets).",
        )
    return feeds


def _of_size(inputs: Any, size: int) -> Iterator[Any]:
    """A batch in pieces of the only size that the graph takes."""
    from torch import Tensor
    from torch.utils import _pytree as pytree

    whole = batch_size(inputs)
    for start in range(0, whole - size + 1, size):

        def piece(tensor: Tensor, start: int = start) -> Tensor:
            has_batch = tensor.dim() and len(tensor) == whole
            return tensor[start : start + size] if has_batch else tensor

        yield pytree.tree_map_only(Tensor, piece, inputs)


def _between(graph: Any, layers: set[str]) -> list[str]:
    """Nodes that only int8 feeds and that some int8 layer reads, by way of others like them."""
    made_by = {output: node for node in graph.node for output in node.output}
    stored = {item.name for item in graph.initializer}
    int8, order = set(layers), []
    for node in graph.node:  # in the order they run
        if node.op_type in BETWEEN_OPS:
            sources = [
                made_by.get(name)
                for name in node.input
                if name and name not in stored and not _is_constant(made_by.get(name))
            ]
            if sources and all(source is not None and source.name in int8 for source in sources):
                int8.add(node.name)
                order.append(node)
    is_read = {name for node in graph.node if node.name in layers for name in node.input}
    kept = []
    for node in reversed(order):
        if is_read.intersection(node.output):
            kept.append(node.name)
            is_read.update(node.input)
    return kept


def _is_constant(node: Any) -> bool:
    return node is not None and node.op_type == "Constant"


def _method(name: Method) -> Any:
    from onnxruntime.quantization import CalibrationMethod

    methods: Mapping[Method, Any] = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    return methods[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """The tool recommends a step of its own for every model; what fails still raises."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def has_int8_kernels() -> bool:
    """Whether this processor multiplies bytes without the risk of overflow (VNNI, or ARM's own)."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "vnni" in flags
