"""How far a network's outputs are from those of the network it learns from.

For class scores this is the distance of Hinton et al. (1503.02531): with temperature ``T``,
``T^2 * KL(softmax(teacher / T) || softmax(student / T))``, the mean over all predictions. The
factor keeps the gradient's size when the temperature changes. For any other output it is the mean
squared difference. No gradient reaches the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from supple.errors import TrainingError, near_misses

__all__ = ["Match", "check_matching", "detached", "match_outputs"]

Match = Literal["auto", "classes", "values"]
"""What is matched: class probabilities, values, or (auto) whichever the targets tell."""


def match_outputs(
    outputs: Any, soft: Any, targets: Any, *, temperature: float = 1.0, match: Match = "auto"
) -> Tensor:
    """The distance of ``outputs`` to the ``soft`` targets; zero where they are equal.

    Args:
        outputs: What the student gives: a tensor, or a mapping with a tensor called ``logits``.
        soft: What the teacher gives; treated as a constant.
        targets: The task's targets. With ``match="auto"``, integer targets mean that the outputs
            are class scores; anything else, that they are values.
        temperature: Softens both distributions; used for class scores only.
        match: Overrides the guess from the targets.
    """
    student, teacher = _scores(outputs), _scores(soft).detach()
    if student.shape != teacher.shape:
        raise TrainingError(
            f"The outputs have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}.",
            why="A student learns from outputs that mean the same as its own.",
            hint="use a teacher with the same outputs",
        )
    if match == "values" or (match == "auto" and not _is_class_index(targets)):
        return F.mse_loss(student, teacher)
    dim = _class_dim(student, targets)
    log_student = F.log_softmax(student / temperature, dim)
    log_teacher = F.log_softmax(teacher / temperature, dim)
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim)
    return divergence.mean() * temperature**2


def detached(outputs: Any) -> Tensor:
    """Outputs as soft targets: the same values, cut off from the graph that made them."""
    return _scores(outputs).detach()


def check_matching(rule: str, temperature: float, match: str) -> None:
    """Refuse settings with which the soft targets are not defined."""
    if not temperature > 0:
        raise TrainingError(
            f"The training rule '{rule}' got temperature {temperature}.",
            why="Scores are divided by it.",
            hint="a temperature above zero; 1 leaves the probabilities as they are",
        )
    if match not in get_args(Match):
        raise TrainingError(
            f"The training rule '{rule}' got match='{match}'.",
            hint=near_misses(match, get_args(Match)),
        )


def _scores(outputs: Any) -> Tensor:
    if isinstance(outputs, Tensor):
        return outputs
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    if isinstance(logits, Tensor):
        return logits
    raise TrainingError(
        f"Distillation needs outputs that are one tensor, got a {type(outputs).__name__}.",
        why="The student's outputs are compared with the teacher's, number by number.",
        hint="return one tensor or a mapping with the key 'logits', or use a rule without "
        "distillation: sorted_net, or sandwich with distil=False",
    )


def _is_class_index(targets: Any) -> bool:
    if not isinstance(targets, Tensor):
        return True
    return not targets.is_floating_point() and not targets.is_complex()


def _class_dim(scores: Tensor, targets: Any) -> int:
    """The dimension of the classes: 1, as in torch's losses, unless only the last one fits."""
    if scores.ndim < 2:
        return 0
    if isinstance(targets, Tensor) and scores.ndim > 2:
        without_first = torch.Size((scores.shape[0], *scores.shape[2:]))
        if targets.shape != without_first and targets.shape == scores.shape[:-1]:
            return -1
    return 1
