"""A network as an ONNX graph whose layers are known by their names in the network.

Recording folds batch norms into weights and renames them, so a layer's node is found by its
weight: that of the node is that of the network, but for a factor per output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_of, batch_size, call, evaluating
from supple.elastic._formats._compare import largest_difference
from supple.elastic._formats._onnx import (
    Recorder,
    named_inputs,
    onnx_bytes,
    require_onnx,
    session,
)
from supple.errors import ExampleError, ExportError

__all__ = ["OnnxGraph", "OnnxNetwork", "record"]

RECORDERS: tuple[Recorder, ...] = ("torchscript", "dynamo")
LAYER_OPS = ("Conv", "Gemm", "MatMul")
# Rounding differs between kernels; another graph differs by far more than this.
LARGEST_DIFFERENCE = 1e-3
# A weight with its batch norm folded in is the network's own to this relative precision.
PROPORTIONAL = 1e-4


@dataclass(frozen=True, kw_only=True)
class OnnxGraph:
    """A network recorded as an ONNX model.

    Attributes:
        model: The bytes of the file.
        nodes: Name of the node of each layer, by the layer's name, in the order they run.
        any_batch: Whether it takes any batch size.
        example: Inputs of one call of the network.
        network: The network that was recorded.
    """

    model: bytes = field(repr=False)
    nodes: Mapping[str, str]
    any_batch: bool
    example: Any = field(repr=False)
    network: nn.Module = field(repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights, in the order they run."""
        return tuple(self.nodes)


class OnnxNetwork(nn.Module):
    """An ONNX model that is called as the network it was made of, on the CPU.

    Attributes:
        onnx_model: The bytes of the file.
        int8_layers: Names of the layers that compute in integers.
        threads: Threads one call may use.
    """

    def __init__(
        self,
        graph: OnnxGraph,
        model: bytes | None = None,
        *,
        int8_layers: tuple[str, ...] = (),
        threads: int = 1,
    ) -> None:
        super().__init__()
        self.onnx_model = graph.model if model is None else model
        self.int8_layers = int8_layers
        self.threads = threads
        self._graph = (graph,)  # in a tuple: the network's weights are not this module's
        with evaluating(graph.network):
            self._spec = pytree.tree_flatten(call(graph.network, graph.example))[1]
        self._session: Any = None

    @property
    def graph(self) -> OnnxGraph:
        """The graph in floats that it was made of."""
        return self._graph[0]

    def feeds(self, inputs: Any) -> dict[str, NDArray[Any]]:
        """A batch as the session takes it."""
        named = named_inputs(self.graph.network, inputs)
        wanted = [entry.name for entry in self.session.get_inputs()]
        return {name: named[name].detach().cpu().contiguous().numpy() for name in wanted}

    @property
    def session(self) -> Any:
        """The session of ONNX Runtime, opened at the first call."""
        if self._session is None:
            self._session = session(self.onnx_model, threads=self.threads)
        return self._session

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of a batch."""
        found = self.session.run(None, self.feeds(kwargs or args))
        return pytree.tree_unflatten([torch.from_numpy(array) for array in found], self._spec)


def record(network: nn.Module, example: Any) -> OnnxGraph:
    """Records a network in evaluation mode, for any batch size where that is possible.

    Args:
        network: A plain module, as ``net.extract(config)`` returns.
        example: Inputs of one call: a tensor, a tuple of arguments or a dict by name.

    Raises:
        MissingExtraError: ONNX is not installed.
        ExampleError: The network does not run on the example.
        ExportError: No recorder gives a graph that computes the same.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.quantize.onnx_graph import record
        >>> network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
        >>> record(network, (torch.randn(2, 8),)).layers
        ('0', '2')
    """
    require_onnx("Quantizing to int8")
    batches = _batches(network, example)
    failed = {}
    for any_batch in (True, False) if len(batches) > 1 else (False,):
        for recorder in RECORDERS:
            inputs, _ = batches[-1] if any_batch else batches[0]
            try:
                model = onnx_bytes(network, inputs, recorder=recorder, any_batch=any_batch)
                _check(model, network, batches if any_batch else batches[:1])
            except Exception as problem:
                failed[f"{recorder}, {'any' if any_batch else 'one'} batch size"] = problem
                continue
            return OnnxGraph(
                model=model,
                nodes=_nodes(model, network),
                any_batch=any_batch,
                example=example,
                network=network,
            )
    reasons = "; ".join(f"{how}: {_first_line(problem)}" for how, problem in failed.items())
    raise ExportError(
        "the network cannot be recorded as an ONNX graph.",
        why=f"No recorder gave a graph that computes the same ({reasons}).",
        hint="leave out quantization, or replace the step that cannot be recorded.",
    )


def _batches(network: nn.Module, example: Any) -> list[tuple[Any, Any]]:
    """Inputs of the example's batch size and, where the network takes it, of another one."""
    with evaluating(network):
        try:
            found = [(example, call(network, example))]
        except Exception as error:
            raise ExampleError(
                f"The network does not run on the example: {error}",
                hint="pass the inputs as a tuple of arguments or a dict of keyword arguments",
            ) from error
        try:
            # Not 1, which a recorder takes for a dimension that is always 1.
            other = batch_of(example, batch_size(example) + 2, seed=1)
            found.append((other, call(network, other)))
        except Exception:
            return found
    return found


def _check(model: bytes, network: nn.Module, batches: list[tuple[Any, Any]]) -> None:
    """Raises where the graph computes something else than the network."""
    opened = session(model, threads=1)
    wanted = [entry.name for entry in opened.get_inputs()]
    for inputs, expected in batches:
        named = named_inputs(network, inputs)
        feeds = {name: named[name].detach().cpu().contiguous().numpy() for name in wanted}
        found = [torch.from_numpy(array) for array in opened.run(None, feeds)]
        difference = largest_difference(found, expected)
        if not difference.size <= LARGEST_DIFFERENCE:
            raise ValueError(f"outputs differ by {difference.size:.3g}: {difference.where}")


# -- from nodes to layers ---------------------------------------------------------------------
def _nodes(model: bytes, network: nn.Module) -> dict[str, str]:
    """The node of each layer, found by its weight."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(model).graph
    stored = {item.name: item for item in graph.initializer}
    free = {
        name: weight.detach().cpu().double().numpy()
        for name, weight in network.named_parameters()
        if weight.dim() >= 2
    }
    found: dict[str, str] = {}
    for node in graph.node:
        if node.op_type not in LAYER_OPS or node.input[1] not in stored:
            continue
        values = numpy_helper.to_array(stored[node.input[1]]).astype(np.float64)
        name = _same_weight(values, free)
        if name is not None:
            found.setdefault(name.removesuffix(".weight"), node.name)
    return found


def _same_weight(values: NDArray[np.float64], free: Mapping[str, Any]) -> str | None:
    """The parameter that a node's weight is, as it is, transposed, or times a factor per row."""
    for name, weight in free.items():
        for candidate in (weight, weight.T if weight.ndim == 2 else weight):
            if candidate.shape == values.shape and _is_proportional(values, candidate):
                return name
    return None


def _is_proportional(values: NDArray[np.float64], weight: NDArray[np.float64]) -> bool:
    """Whether each output channel's values are a multiple of the weight's."""
    ours, theirs = values.reshape(len(values), -1), weight.reshape(len(weight), -1)
    energy = (theirs**2).sum(axis=1)
    factor = np.divide((ours * theirs).sum(axis=1), energy, where=energy > 0, out=energy * 0)
    rest = np.abs(ours - factor[:, None] * theirs).max(axis=1)
    return bool((rest <= PROPORTIONAL * np.abs(ours).max(axis=1) + 1e-12).all())


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
