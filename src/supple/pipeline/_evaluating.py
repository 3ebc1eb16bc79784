"""Measuring sub-networks whose layers may be int8, outside the main job: for tables and studies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from supple.elastic import Elastic
from supple.measure import Accuracy, Latency
from supple.pipeline._int8 import Int8
from supple.pipeline._objectives import Evaluation

__all__ = ["int8_evaluation"]


def int8_evaluation(
    net: Elastic,
    baseline: nn.Module,
    *,
    example: Any,
    valid: Iterable[Any],
    calibration: Iterable[Any],
    objectives: Sequence[str] = ("accuracy", "latency", "file_size"),
    seconds: float = 0.6,
    threads: int = 1,
    seed: int = 0,
) -> Evaluation:
    """What measures configs of structure and bits: ``evaluation(config) -> (values, details)``.

    Args:
        net: A trained elastic network.
        baseline: The network it was made of; costs are ratios to its, in floats.
        example: Inputs of one call; its batch size is what is timed.
        valid: Batches ``(inputs, targets)`` by which networks are compared.
        calibration: Some training batches, a list.
        objectives: What to measure.
        seconds: Of timing for each config.
        threads: Threads of one timed call.
        seed: Of the inputs that are timed.

    Returns:
        The evaluation; ``evaluation.space`` is the joint space, ``evaluation.int8.policy`` takes
        its configs apart.

    Example:
        >>> import torch
        >>> from supple.pipeline import int8_evaluation
        >>> x = torch.randn(64, 8)
        >>> data = [(x, (x[:, 0] > 0).long())]
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
        >>> evaluation = int8_evaluation(
        ...     Elastic(model, (x[:1],)), model, example=(x[:1],), valid=data, calibration=data,
        ...     objectives=["accuracy", "file_size"])
        >>> values, details = evaluation(evaluation.space.smallest)
        >>> details["macs_count"]
        40.0
    """
    return Evaluation(
        net=net.eval(),
        baseline=baseline.eval(),
        objectives=tuple(objectives),
        accuracy=Accuracy(loader=valid),
        latency=Latency(
            example=example,
            backend="onnxruntime",
            threads=threads,
            max_seconds=seconds,
            seed=seed,
        ),
        example=example,
        calibration=calibration,
        int8=Int8.of(net, example, threads=threads),
    )
