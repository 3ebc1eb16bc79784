"""Knowledge distillation (Hinton et al., 1503.02531): learn the task and a teacher's outputs.

The rule for the last fine-tuning of a picked sub-network, with the original network as teacher.
Defaults are those of transformable architecture search (paper 10): T = 4, weight 0.9.

A teacher that knows its training data by heart tells of them little more than their labels. Mixed
pairs of examples (mixup, Zhang et al., 1710.09412) are new to both networks: the student learns
the teacher's function, not the labels (Beyer et al., 2106.05237).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
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
        mixup: Parameter of the Beta distribution of the two shares of a mixed pair; 1 draws any
            share alike, 0 mixes nothing. Both networks see the mixed inputs, and the task's loss
            is that of both targets by their shares. For one tensor of real inputs.
    """

    name: ClassVar[str] = "distil"
    takes_teacher: ClassVar[bool] = True

    temperature: float = 4.0
    weight: float = 0.9
    match: Match = "auto"
    mixup: float = 0.0

    def __post_init__(self) -> None:
        check_matching(self.name, self.temperature, self.match)
        if not 0 <= self.weight <= 1:
            raise TrainingError(
                f"The training rule 'distil' got weight {self.weight}.",
                why="It is the teacher's share of the loss.",
                hint="a number between 0 and 1",
            )
        if not 0 <= self.mixup < math.inf:
            raise TrainingError(
                f"The training rule 'distil' got mixup {self.mixup}.",
                why="It is the parameter of a Beta distribution.",
                hint="0 to mix nothing, or a positive number such as 1",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the one loss."""
        inputs, targets = batch
        share, order = 1.0, None
        if self.mixup:
            share, order = self._pairs(inputs, step.rng)
            inputs = share * inputs + (1 - share) * inputs[order]
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
        loss = step.loss(outputs, targets)
        if order is not None:
            loss = share * loss + (1 - share) * step.loss(outputs, targets[order])
        yield (1 - self.weight) * loss + self.weight * distance

    def _pairs(self, inputs: Any, rng: np.random.Generator) -> tuple[float, Tensor]:
        """The share of an example in its pair, and which example is mixed into each."""
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            kind = f"a tensor of {inputs.dtype}" if isinstance(inputs, Tensor) else type(inputs)
            raise TrainingError(
                f"The training rule 'distil' got mixup {self.mixup} and inputs that are {kind}.",
                why="Only real numbers can be mixed.",
                hint="mixup=0",
            )
        order = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
        return float(rng.beta(self.mixup, self.mixup)), order
