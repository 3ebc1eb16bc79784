"""Runs a network as it is, in eager torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from supple.elastic._call import Network, batch_of, batch_size, call, evaluating, tensors_in
from supple.errors import ExampleError
from supple.measure._runner import Runner
from supple.measure._threads import torch_threads

__all__ = ["prepare"]


def prepare(network: Network, example: Any, *, threads: int, seed: int) -> Runner:
    """The network on random inputs like the example, in eval mode without gradients."""
    inputs = batch_of(example, batch_size(example), seed=seed)
    devices = {tensor.device for tensor in tensors_in(inputs) if tensor.device.type != "cpu"}

    def run() -> object:
        output = call(network, inputs)
        for device in devices:
            # Other devices work on after the call has returned.
            torch.accelerator.synchronize(device)
        return output

    @contextmanager
    def during() -> Iterator[None]:
        with evaluating(network), torch_threads(threads):
            yield

    with during():
        try:
            run()
        except Exception as error:
            raise ExampleError(
                f"The network does not run on inputs like the example: {error}",
                hint="pass the inputs as a tuple of arguments or a dict of keyword arguments",
            ) from error
    return Runner(
        run=run, during=during, backend="torch", threads=threads, batch=batch_size(example)
    )
