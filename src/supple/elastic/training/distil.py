"""Knowledge distillation (Hinton et al., 1503.02531): learn the task and a teacher's outputs.

The rule for the last fine-tuning of a picked sub-network, with the original network as teacher.
Defaults are those of transformable architecture search (paper 10): T = 4, weight 0.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from supple.elastic._call import call
from supple.elastic.training._batch import Batch
from supple.elastic.training._rule import StepContext
from supple.elastic.training._soft_targets import Match, check_matching, match_outputs
from supple.errors import TrainingError

__all__ = ["Distil"]


@dataclass(frozen=True, kw_only=True)
class Distil:
    """Train the whole network on ``(1 - weight) * task loss + weight * distance to the teacher``.

    Attributes:
        temperature: Softens the class probabilities of both networks.
        weight: Share of the teacher, between 0 and 1.
        match: What is compared: ``classes``, ``values``, or ``auto`` by the task's targets.
    """

    name: ClassVar[str] = "distil"
    takes_teacher: ClassVar[bool] = True

    temperature: float = 4.0
    weight: float = 0.9
    match: Match = "auto"

    def __post_init__(self) -> None:
        check_matching(self.name, self.temperature, self.match)
        if not 0 <= self.weight <= 1:
            raise TrainingError(
                f"The training rule 'distil' got weight {self.weight}.",
                why="It is the teacher's share of the loss.",
                hint="a number between 0 and 1",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the one loss."""
        inputs, targets = batch
        soft = step.taught(inputs)
        if soft is None:
            raise TrainingError(
                "The training rule 'distil' needs a teacher, none was given.",
                hint="train(…, teacher=original_network), or the rule 'plain'",
            )
        outputs = call(net, inputs)
        distance = match_outputs(
            outputs, soft, targets, temperature=self.temperature, match=self.match
        )
        yield (1 - self.weight) * step.loss(outputs, targets) + self.weight * distance
