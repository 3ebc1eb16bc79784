"""Batch-norm statistics for the network that will run.

The running mean and variance of a batch norm belong to the activations they were collected on. A
sub-network's activations are others, so its statistics are reset and taken anew over some training
batches before it is judged (papers 75, 76; once-for-all, 1908.09791).

All batch norms are found by what they compute, not by their class: every call of ``F.batch_norm``
or of the ATen operators behind it is intercepted while the network runs. So modules, their
elastic versions and captured graphs are served by the same few lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from supple.elastic._call import call, evaluating
from supple.elastic.training._batch import checked_batch, to_device
from supple.errors import DataError, TrainingError

__all__ = ["recalibrate"]


def recalibrate(network: nn.Module, loader: Iterable[Any], batches: int | None = None) -> int:
    """Reset the statistics of every batch norm and average them over training batches.

    Each statistic becomes the mean over the batches of the batch's own, as torch's batch norm with
    ``momentum=None`` gives after a reset. While this runs, batch norms use the statistics of the
    batch and every other module is in eval mode; no weight changes, no gradient is taken.

    Args:
        network: Any module whose batch norms keep their statistics in its buffers, or in views
            of them.
        loader: Gives batches ``(inputs, targets)``; targets are not used.
        batches: How many batches to read; None reads all.

    Returns:
        The number of batch norms whose statistics were set; 0 for a network without any.

    Raises:
        DataError: The loader is empty, or gives a batch of one example.
        TrainingError: The statistics are no buffers of the network, as those of ``net.at(config)``.

    Example:
        >>> import torch
        >>> from supple.elastic.batch_norm import recalibrate
        >>> norm = torch.nn.BatchNorm1d(1)
        >>> x = torch.tensor([[1.0], [3.0]])
        >>> recalibrate(norm, [(x, None)]), norm.running_mean.item(), norm.running_var.item()
        (1, 2.0, 2.0)
    """
    if not isinstance(network, nn.Module):
        raise _shared(f"A {type(network).__name__} has no batch-norm statistics of its own.")
    collect = _Collect(network)
    device = next((buffer.device for buffer in network.buffers()), torch.device("cpu"))
    count = 0
    with evaluating(network), collect:
        for item in islice(loader, batches):
            inputs, _ = to_device(checked_batch(item), device)
            call(network, inputs)
            count += 1
            if not collect.found:
                break
    if count == 0:
        raise DataError(
            "There is no batch to take batch-norm statistics from.",
            why=f"batches={batches}" if batches is not None else "The loader gave none.",
            hint="a loader of some training batches, and batches of 1 or more",
        )
    collect.write()
    return len(collect.found)


@dataclass
class _Statistics:
    """What one batch norm has seen: its buffers, and the sums of its batches' statistics."""

    running_mean: Tensor
    running_var: Tensor
    mean_sum: Tensor
    var_sum: Tensor
    calls: int = 0


class _Collect(TorchFunctionMode):
    """Lets batch norms use the batch's statistics, and adds these up per pair of buffers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.found: dict[tuple[int, ...], _Statistics] = {}
        self._buffers = {b.untyped_storage().data_ptr(): n for n, b in network.named_buffers()}
        self._network = network

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Intercept batch norms; run everything else as it is."""
        names = _PARAMETERS.get(func)
        if names is None:
            return func(*args, **(kwargs or {}))
        given = dict(zip(names, args, strict=False)) | (kwargs or {})
        if given.get("running_mean") is None:
            return func(*args, **(kwargs or {}))
        output = self._normalise(given)
        return (output, None, None) if func in _GIVES_STATISTICS else output

    def _normalise(self, given: dict[str, Any]) -> Tensor:
        statistics = self._statistics(given["running_mean"], given["running_var"])
        # With momentum 1, batch_norm writes 0 * old + 1 * the batch's own into these two.
        mean = torch.zeros_like(statistics.running_mean)
        var = torch.zeros_like(statistics.running_var)
        try:
            output = F.batch_norm(
                given["input"],
                mean,
                var,
                given.get("weight"),
                given.get("bias"),
                training=True,
                momentum=1.0,
                eps=given.get("eps", 1e-5),
            )
        except ValueError as error:
            raise DataError(
                f"Batch norm cannot take statistics from a batch: {error}.",
                why="A variance needs more than one value.",
                hint="larger batches, or drop_last=True in the loader",
            ) from error
        statistics.mean_sum += mean
        statistics.var_sum += var
        statistics.calls += 1
        return output

    def _statistics(self, mean: Tensor, var: Tensor) -> _Statistics:
        # A sub-network cuts its statistics out of the buffers anew in every call: same memory,
        # another tensor. The memory is what tells batch norms apart.
        if mean.untyped_storage().data_ptr() not in self._buffers:
            raise _shared("A batch norm uses running statistics that are no buffer of the network.")
        key = (mean.data_ptr(), var.data_ptr(), *mean.shape)
        if key not in self.found:
            zero = torch.zeros_like(mean, dtype=torch.float64)
            self.found[key] = _Statistics(mean, var, zero, zero.clone())
        return self.found[key]

    def write(self) -> None:
        """Put the averages into the buffers, and the number of batches beside them."""
        counters = dict(self._network.named_buffers())
        with torch.no_grad():
            for seen in self.found.values():
                seen.running_mean.copy_(seen.mean_sum / seen.calls)
                seen.running_var.copy_(seen.var_sum / seen.calls)
                name = self._buffers[seen.running_mean.untyped_storage().data_ptr()]
                counter = counters.get(name.removesuffix("running_mean") + "num_batches_tracked")
                if counter is not None and name.endswith("running_mean"):
                    counter.fill_(seen.calls)


def _shared(message: str) -> TrainingError:
    return TrainingError(
        message,
        why="What is set would be lost, or change what other sub-networks use.",
        hint="take the sub-network out first: recalibrate(net.extract(config), loader)",
    )


def _operator_parameters(operator: Any) -> tuple[str, ...]:
    return tuple(argument.name for argument in operator._schema.arguments)


_NO_TRAINING = torch.ops.aten._native_batch_norm_legit_no_training.default

_GIVES_STATISTICS = {
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten._native_batch_norm_legit.default,
    _NO_TRAINING,
}
"""Operators whose first of three results is the output; the others are used in training only."""

_PARAMETERS: dict[Callable[..., Any], tuple[str, ...]] = {
    F.batch_norm: tuple(inspect.signature(F.batch_norm).parameters),
    torch.batch_norm: _operator_parameters(torch.ops.aten.batch_norm.default),
    torch.ops.aten.batch_norm.default: _operator_parameters(torch.ops.aten.batch_norm.default),
    **{operator: _operator_parameters(operator) for operator in _GIVES_STATISTICS},
}
"""The functions that are a batch norm, with the names of their parameters in order."""
