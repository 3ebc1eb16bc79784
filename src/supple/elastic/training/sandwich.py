"""The sandwich rule with in-place distillation (Yu and Huang, 1903.05134).

Every step trains the largest, the smallest and a few random sub-networks: accuracy in between is
bounded by these two ends. The largest learns the task; its outputs, taken as constants, teach the
others in the same step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from supple.elastic._call import call
from supple.elastic.training._batch import Batch
from supple.elastic.training._rule import StepContext, elastic
from supple.elastic.training._soft_targets import Match, check_matching, detached, match_outputs
from supple.errors import TrainingError

__all__ = ["Sandwich"]


@dataclass(frozen=True, kw_only=True)
class Sandwich:
    """Train largest, smallest and ``n_random`` random sub-networks in every step.

    The loss is the mean over these sub-networks (the paper sums; the mean keeps the meaning of the
    learning rate when ``n_random`` changes). The largest has the task's loss. Every other one has
    its distance to the largest's outputs, or the task's loss if ``distil`` is off.

    With a frozen teacher, its outputs take the place of the largest's, and the largest itself has
    the mean of the task's loss and its distance to the teacher.

    Attributes:
        n_random: Random sub-networks per step; with 0 only the two ends are trained.
        distil: Whether the smaller ones learn from outputs rather than from the targets.
        temperature: Softens the class probabilities in the distance.
        task_weight: Share of the task's loss in what a distilled sub-network learns from.
        match: What is compared: ``classes``, ``values``, or ``auto`` by the task's targets.
    """

    name: ClassVar[str] = "sandwich"
    takes_teacher: ClassVar[bool] = True

    n_random: int = 2
    distil: bool = True
    temperature: float = 1.0
    task_weight: float = 0.0
    match: Match = "auto"

    def __post_init__(self) -> None:
        check_matching(self.name, self.temperature, self.match)
        if self.n_random < 0 or not 0 <= self.task_weight <= 1:
            raise TrainingError(
                f"The training rule 'sandwich' got n_random={self.n_random}, "
                f"task_weight={self.task_weight}.",
                hint="n_random of 0 or more, and a task_weight between 0 and 1",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the largest sub-network's loss, then the smallest's, then the random ones'."""
        space = elastic(net, self).space
        inputs, targets = batch
        share = 1 / (2 + self.n_random)

        soft = step.taught(inputs)
        outputs = call(net, inputs)
        loss = step.loss(outputs, targets)
        if soft is not None:
            loss = (loss + self._distance(outputs, soft, targets)) / 2
        elif self.distil:
            soft = detached(outputs)
        yield share * loss

        for index in range(1 + self.n_random):
            config = space.smallest if index == 0 else space.sample(rng=step.rng)
            outputs = call(elastic(net, self).at(config), inputs)
            yield share * self._small_loss(outputs, soft, targets, step)

    def _small_loss(self, outputs: Any, soft: Any, targets: Any, step: StepContext) -> Tensor:
        if not self.distil:
            return step.loss(outputs, targets)
        distance = self._distance(outputs, soft, targets)
        if self.task_weight == 0:
            return distance
        return (1 - self.task_weight) * distance + self.task_weight * step.loss(outputs, targets)

    def _distance(self, outputs: Any, soft: Any, targets: Any) -> Tensor:
        return match_outputs(outputs, soft, targets, temperature=self.temperature, match=self.match)
