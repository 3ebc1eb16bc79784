"""Runs a network as an ONNX graph in ONNX Runtime on the CPU.

The graph is recorded for the example's batch size by the faster of torch's two recorders, and by
the other where that fails or gives other outputs than the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from supple.elastic._call import Network, batch_of, batch_size, call, evaluating
from supple.elastic._formats._compare import largest_difference
from supple.elastic._formats._onnx import (
    Recorder,
    named_inputs,
    onnx_bytes,
    require_onnx,
    session,
)
from supple.errors import ExampleError, MeasureError
from supple.measure._runner import Runner
from supple.measure._threads import torch_threads
from supple.measure.measurement import plain_module

__all__ = ["prepare"]

RECORDERS: tuple[Recorder, ...] = ("torchscript", "dynamo")

LARGEST_DIFFERENCE = 1e-3
"""Rounding differs between kernels; another graph differs by far more than this."""


def prepare(network: Network, example: Any, *, threads: int, seed: int) -> Runner:
    """A session for the network, checked to compute what the network computes."""
    require_onnx("Measuring latency in ONNX Runtime")
    if getattr(network, "onnx_model", None) is not None:
        return _ready_made(network, example, threads=threads, seed=seed)
    module = plain_module(network, "latency")
    inputs = batch_of(example, batch_size(example), seed=seed)
    with evaluating(network), torch_threads(threads):
        expected = _expected(network, inputs)
        failed: dict[str, Exception | str] = {}
        for recorder in RECORDERS:
            try:
                opened = session(onnx_bytes(module, inputs, recorder=recorder), threads=threads)
                feeds = _feeds(opened, named_inputs(module, inputs))
                found = [torch.from_numpy(array) for array in opened.run(None, feeds)]
            except Exception as error:
                failed[recorder] = error
                continue
            difference = largest_difference(found, expected)
            if difference.size <= LARGEST_DIFFERENCE:
                return _runner(opened, feeds, threads, batch_size(example), recorder)
            failed[recorder] = f"its outputs differ by {difference.size:.3g}: {difference.where}"
    raise _not_recorded(failed)


def _ready_made(network: Any, example: Any, *, threads: int, seed: int) -> Runner:
    """A session for a network that is an ONNX graph already, at the example's batch size.

    Such a network (`supple.compress.quantize.onnx_graph.OnnxNetwork`) has its file in
    ``onnx_model`` and turns a batch into what a session takes with ``feeds(batch)``.
    """
    size = batch_size(example)
    feeds = network.feeds(batch_of(example, size, seed=seed))
    opened = session(network.onnx_model, threads=threads, sizes={"batch": size})
    opened.run(None, feeds)
    return _runner(opened, feeds, threads, size, "ready made")


def _expected(network: Network, inputs: Any) -> Any:
    try:
        return call(network, inputs)
    except Exception as error:
        raise ExampleError(
            f"The network does not run on inputs like the example: {error}",
            hint="pass the inputs as a tuple of arguments or a dict of keyword arguments",
        ) from error


def _feeds(opened: Any, named: Mapping[str, Tensor]) -> dict[str, Any]:
    # A recorder may drop an input that the outputs do not depend on.
    wanted = [entry.name for entry in opened.get_inputs()]
    return {name: named[name].detach().cpu().contiguous().numpy() for name in wanted}


def _runner(opened: Any, feeds: dict[str, Any], threads: int, batch: int, recorder: str) -> Runner:
    return Runner(
        run=lambda: opened.run(None, feeds),
        during=nullcontext,
        backend="onnxruntime",
        threads=threads,
        batch=batch,
        details={"recorder": recorder},
    )


def _not_recorded(failed: Mapping[str, Exception | str]) -> MeasureError:
    reasons = "; ".join(
        f"{name}: {str(reason).strip().splitlines()[0] if str(reason).strip() else reason!r}"
        for name, reason in failed.items()
    )
    error = MeasureError(
        "The network could not be brought to ONNX Runtime.",
        why=f"Neither recorder gave a graph that computes the same ({reasons}).",
        hint="Latency(backend='torch'), which runs the network as it is",
        failed={name: str(reason) for name, reason in failed.items()},
    )
    error.__cause__ = next((r for r in failed.values() if isinstance(r, Exception)), None)
    return error
