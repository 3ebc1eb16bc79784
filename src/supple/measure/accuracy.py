"""How well a network does on a loader: top-1 accuracy, or the task's own metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from supple.elastic._call import Network, batch_size, call, evaluating, module_behind
from supple.errors import DataError, MeasureError
from supple.measure._intervals import mean_interval, wilson_interval
from supple.measure.measurement import Direction, Measure, Measurement

__all__ = ["Accuracy", "Metric", "top1"]

Metric = Callable[[Any, Any], Any]
"""``(outputs, targets)`` -> one score per sample, shape (N,), or one number for the batch."""


@dataclass(frozen=True, kw_only=True)
class Accuracy(Measure):
    """The mean score over a loader, each sample counted once.

    Scores of 0 and 1 get a Wilson interval, others a normal one over samples; a metric that
    gives one number per batch is averaged by batch size and its interval is over batches.

    Attributes:
        loader: Yields ``(inputs, targets)``; must be iterable more than once.
        metric: Scores a batch; None is top-1 accuracy of class targets, see `top1`.
        name: What a study calls it.
        unit: The unit of its figures.
        direction: ``"max"`` for accuracies, ``"min"`` for errors.

    Example:
        >>> import torch
        >>> loader = [(torch.eye(4), torch.tensor([0, 1, 2, 0]))]
        >>> Accuracy(loader=loader).measure(torch.nn.Identity()).value
        0.75
    """

    loader: Iterable[Any] = field(repr=False, compare=False)
    metric: Metric | None = None
    name: str = "accuracy"
    unit: str = "fraction"
    direction: Direction = "max"

    def measure(self, network: Network) -> Measurement:
        """Scores every batch in eval mode without gradients."""
        per_sample: list[Tensor] = []
        per_batch: list[tuple[float, float]] = []
        with evaluating(network):
            for number, (inputs, targets) in enumerate(self._batches(network)):
                scores, size = self._score(network, inputs, targets, number), batch_size(inputs)
                if scores.dim():
                    per_sample.append(scores)
                else:
                    per_batch.append((scores.item(), size))
        if per_sample and per_batch:
            raise MeasureError(
                f"The metric of '{self.name}' gave scores per sample for some batches "
                "and one number for others.",
                hint="return a tensor of shape (N,) for every batch, also one of size 1",
            )
        if per_batch:
            return self._of_batches(per_batch)
        scores = torch.cat(per_sample) if per_sample else torch.empty(0)
        if not scores.numel():
            raise DataError(
                f"The loader of measure '{self.name}' gave no sample.",
                why="It is empty, or it was a generator that has been used up.",
                hint="pass a DataLoader or a list of batches, with drop_last=False",
            )
        return self._of_samples(scores)

    def _batches(self, network: Network) -> Iterator[tuple[Any, Any]]:
        device = _device(network)
        for number, batch in enumerate(self.loader):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise DataError(
                    f"Batch {number} of the loader of measure '{self.name}' is not a pair.",
                    why=f"It is a {type(batch).__name__}; expected (inputs, targets).",
                    hint="yield a pair; inputs may be a tensor, a tuple or a dict",
                    batch=number,
                )
            inputs, targets = batch
            if device is not None:
                inputs, targets = pytree.tree_map_only(
                    Tensor, lambda tensor: tensor.to(device), (inputs, targets)
                )
            yield inputs, targets

    def _score(self, network: Network, inputs: Any, targets: Any, number: int) -> Tensor:
        outputs = call(network, inputs)
        try:
            found = (self.metric or top1)(outputs, targets)
        except MeasureError as error:
            raise MeasureError(
                f"Batch {number}: {error.message}", why=error.why, hint=error.hint, batch=number
            ) from None
        except Exception as error:
            raise MeasureError(
                f"The metric of '{self.name}' failed on batch {number}: {error}",
                hint="call it by hand on one batch: metric(network(inputs), targets)",
                batch=number,
            ) from error
        return self._usable(found, batch_size(inputs), number)

    def _usable(self, found: Any, size: int, number: int) -> Tensor:
        """The scores as float64 of shape (N,) or (), or an error that names the batch."""
        try:
            scores = torch.as_tensor(found).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise self._unusable(f"is a {type(found).__name__}, not a number", number) from None
        if scores.is_complex():
            raise self._unusable("is complex", number)
        if scores.dim() and tuple(scores.shape) != (size,):
            raise self._unusable(
                f"has shape {tuple(scores.shape)} for {size} samples; it must be "
                f"({size},) or a single number",
                number,
            )
        scores = scores.double()
        if not bool(scores.isfinite().all()):
            bad = scores[~scores.isfinite()][0] if scores.dim() else scores
            raise self._unusable(f"is {bad.item()}", number)
        return scores

    def _unusable(self, what: str, number: int) -> MeasureError:
        return MeasureError(
            f"The metric of '{self.name}' on batch {number} {what}.",
            why="A study compares networks by finite real numbers.",
            hint="look at network(inputs) of that batch; a diverged training gives NaN",
            batch=number,
        )

    def _of_samples(self, scores: Tensor) -> Measurement:
        count = scores.numel()
        if bool(((scores == 0) | (scores == 1)).all()):
            right = int(scores.sum().item())
            mean, (low, high) = right / count, wilson_interval(right, count)
            interval = "Wilson"
        else:
            mean, low, high = mean_interval(scores.tolist(), [1.0] * count)
            interval = "normal, over samples"
        return self._measurement(mean, low, high, count, interval)

    def _of_batches(self, scores: list[tuple[float, float]]) -> Measurement:
        values, sizes = [s[0] for s in scores], [s[1] for s in scores]
        mean, low, high = mean_interval(values, sizes)
        return self._measurement(mean, low, high, int(sum(sizes)), "normal, over batches")

    def _measurement(
        self, mean: float, low: float, high: float, count: int, interval: str
    ) -> Measurement:
        details = {"interval": "none: a single value" if low == high else interval}
        return Measurement(
            value=mean, low=low, high=high, unit=self.unit, count=count, details=details
        )


def _device(network: Network) -> torch.device | None:
    """Where the network's parameters are; None where it has none."""
    module = module_behind(network)
    return None if module is None else next((p.device for p in module.parameters()), None)


def top1(outputs: Any, targets: Tensor) -> Tensor:
    """1 where the class of the largest output is the target's, else 0, per sample.

    Outputs are (N, C), or (N, C, …) with one class per position, which are averaged; targets
    hold class numbers without the C dimension, or one score per class like the outputs.
    """
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor) or outputs.dim() < 2 or outputs.shape[1] < 2:
        found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise MeasureError(
            f"Top-1 accuracy needs outputs of shape (N, classes), found {found}.",
            hint="pass metric=…, a function (outputs, targets) -> scores of shape (N,)",
        )
    if targets.shape == outputs.shape:
        targets = targets.argmax(1)
    if targets.shape != outputs[:, 0].shape or targets.is_floating_point():
        raise MeasureError(
            f"Top-1 accuracy needs one class number per sample, found {targets.dtype} targets of "
            f"shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}.",
            hint="pass metric=…, a function (outputs, targets) -> scores of shape (N,)",
        )
    if not bool(outputs.isfinite().all()):
        raise MeasureError(
            "The network's outputs are not finite numbers.",
            why="The largest of NaN values is no prediction.",
            hint="check the weights and the inputs; a diverged training gives NaN",
        )
    right = (outputs.argmax(1) == targets).double()
    return right.flatten(1).mean(1) if right.dim() > 1 else right
