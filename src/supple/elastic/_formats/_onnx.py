"""``.onnx``: the graph and weights for ONNX Runtime and whatever else reads ONNX.

torch has two recorders. The newer ("dynamo") keeps the batch open and is what an export uses;
the older ("torchscript") is about ten times as fast, and ONNX Runtime turns both graphs into
the same kernels, so a latency that is measured for hundreds of candidates uses that.
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils import _pytree as pytree

from supple.elastic._call import batch_size, evaluating, has_batch, input_arguments
from supple.elastic._formats._format import Format, Loaded
from supple.elastic._formats._placing import sync, write_bytes
from supple.elastic._formats._recording import recording
from supple.errors import MissingExtraError

__all__ = ["FORMAT", "Recorder", "named_inputs", "onnx_bytes", "require_onnx", "session"]

Recorder = Literal["dynamo", "torchscript"]

LARGEST_BYTES = 2_000_000_000
"""A protobuf message ends at 2 GiB; larger networks keep their weights in a file beside it."""


class Onnx(Format):
    """An ONNX model with inputs named as in the network's ``forward``."""

    name = "onnx"

    def require(self) -> None:
        """Names the extra where onnx, onnxscript or onnxruntime is missing."""
        require_onnx("Exporting to ONNX", recorder="dynamo")

    def write(
        self,
        network: nn.Module,
        example: Any,
        path: Path,
        notes: Mapping[str, Any],
        *,
        any_batch: bool,
    ) -> None:
        """Records with the dynamo recorder; the notes become the model's metadata ``supple``."""
        if _weight_bytes(network) < LARGEST_BYTES:
            data = onnx_bytes(network, example, any_batch=any_batch, notes=notes)
            write_bytes(path, data)
            return
        program = _recorded(network, example, any_batch=any_batch, notes=notes)
        with recording():
            program.save(path, external_data=True)
        for part in path.parent.iterdir():
            sync(part)

    def load(self, path: Path, network: nn.Module) -> Loaded:
        """A session of ONNX Runtime that takes the network's own inputs."""
        opened = session(path, threads=torch.get_num_threads())
        wanted = [entry.name for entry in opened.get_inputs()]

        def run(inputs: Any) -> list[Tensor]:
            named = named_inputs(network, inputs)
            feeds = {name: named[name].detach().cpu().numpy() for name in wanted}
            return [torch.from_numpy(array) for array in opened.run(None, feeds)]

        return run


def require_onnx(purpose: str, *, recorder: Recorder = "torchscript") -> None:
    """Raises MissingExtraError for the first package that ``purpose`` lacks."""
    needed = ["onnx", "onnxruntime"] + (["onnxscript"] if recorder == "dynamo" else [])
    for package in needed:
        if find_spec(package) is None:
            raise MissingExtraError.of(package, "onnx", purpose)


def session(model: bytes | Path, *, threads: int, sizes: Mapping[str, int] | None = None) -> Any:
    """An ONNX Runtime session on the CPU with ``threads`` threads and quiet logging.

    ``sizes`` fixes dimensions that the graph leaves open, so that it can be planned for them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would go on spinning while another network is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    fatal_only = 4  # errors come as exceptions
    options.log_severity_level = fatal_only
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_bytes(
    network: nn.Module,
    example: Any,
    *,
    recorder: Recorder = "dynamo",
    any_batch: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> bytes:
    """The whole ONNX file of ``network`` in eval mode, recorded on ``example``."""
    require_onnx("An ONNX graph", recorder=recorder)
    if recorder == "torchscript":
        return _scripted(network, example, any_batch=any_batch)
    program = _recorded(network, example, any_batch=any_batch, notes=notes or {})
    data: bytes = program.model_proto.SerializeToString()
    return data


def named_inputs(network: nn.Module, example: Any) -> dict[str, Tensor]:
    """The example's tensors by the name of the argument they are part of, in order."""
    arguments = _bound(network, example)
    named: dict[str, Tensor] = {}
    for path, leaf in pytree.tree_leaves_with_path(arguments):
        if isinstance(leaf, Tensor):
            name = "_".join(_word(key) for key in path)
            named[name if name not in named else f"{name}_{len(named)}"] = leaf
    return named


def _bound(network: nn.Module, example: Any) -> dict[str, Any]:
    """The arguments by the names that ``forward`` gives them; numbered where it gives none."""
    args, kwargs = input_arguments(example)
    forward = getattr(network, "forward", network)
    try:
        bound = inspect.signature(forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {f"input_{index}": value for index, value in enumerate(args)} | kwargs
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        else:
            found[name] = value
    return found


def _word(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))


class _Flat(nn.Module):
    """The network as a function of tensors only, which every recorder and runtime understands."""

    def __init__(self, network: nn.Module, example: Any) -> None:
        super().__init__()
        self.network = network
        self._leaves, self._spec = pytree.tree_flatten(input_arguments(example))
        order = [id(tensor) for tensor in named_inputs(network, example).values()]
        self._slots = [order.index(id(leaf)) if isinstance(leaf, Tensor) else None
                       for leaf in self._leaves]  # fmt: skip

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """All tensors of the network's output, in order."""
        leaves = [
            leaf if slot is None else tensors[slot]
            for leaf, slot in zip(self._leaves, self._slots, strict=True)
        ]
        args, kwargs = pytree.tree_unflatten(leaves, self._spec)
        output = pytree.tree_leaves(self.network(*args, **kwargs))
        return tuple(leaf for leaf in output if isinstance(leaf, Tensor))


def _recorded(
    network: nn.Module, example: Any, *, any_batch: bool, notes: Mapping[str, Any]
) -> Any:
    """The ONNXProgram of the network, with its own weight names and the notes."""
    named = named_inputs(network, example)
    size, batch = batch_size(example), Dim("batch")
    shapes = tuple(
        {0: batch} if any_batch and has_batch(tensor, size) else None for tensor in named.values()
    )
    with evaluating(network), recording():
        program: Any = torch.onnx.export(
            _Flat(network, example).eval(),
            tuple(named.values()),
            dynamo=True,
            verbose=False,
            input_names=list(named),
            dynamic_shapes=(shapes,) if any_batch else None,
        )
    for name, value in list(program.model.graph.initializers.items()):
        value.name = name.removeprefix("network.")
    if notes:
        program.model.metadata_props["supple"] = json.dumps(notes)
    return program


def _scripted(network: nn.Module, example: Any, *, any_batch: bool) -> bytes:
    """The file of the older recorder, which may take a number of the example for a constant."""
    named, size = named_inputs(network, example), batch_size(example)
    varying = {name: {0: "batch"} for name, tensor in named.items() if has_batch(tensor, size)}
    # The recorder writes to any file; its annotation names paths only.
    buffer: Any = io.BytesIO()
    with evaluating(network), recording():
        torch.onnx.export(
            _Flat(network, example).eval(),
            tuple(named.values()),
            buffer,
            dynamo=False,
            input_names=list(named),
            dynamic_axes=varying if any_batch else None,
        )
    data: bytes = buffer.getvalue()
    return data


def _weight_bytes(network: nn.Module) -> int:
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


FORMAT = Onnx()
