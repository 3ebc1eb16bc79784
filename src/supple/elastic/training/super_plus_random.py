"""InstaTune (paper 82, 2308.15609): an elastic network out of an ordinary fine-tuning.

Every step trains the full network and a random sub-network on the task, and the sub-network also
on the full network's softened outputs. With ``super`` and ``sub`` the outputs of the two,

    loss = (task(sub) + task(super)) / 2 + w * T^2 * KL(softmax(super / T) || softmax(sub / T))

where no gradient reaches ``super`` through the second term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from supple.elastic._call import call
from supple.elastic.training._batch import Batch
from supple.elastic.training._rule import StepContext, elastic
from supple.elastic.training._soft_targets import Match, check_matching, detached, match_outputs
from supple.errors import TrainingError
from supple.papers import implements

__all__ = ["SuperPlusRandom"]


@implements(82)
@dataclass(frozen=True, kw_only=True)
class SuperPlusRandom:
    """Train the full network and ``n_random`` random sub-networks in every step.

    With several random sub-networks, their task losses and distances are averaged. With a frozen
    teacher, its outputs take the place of the full network's in the distance.

    Attributes:
        temperature: ``T``, softens the class probabilities; 5 in the paper.
        distil_weight: ``w``, weight of the distance; 1 in the paper.
        n_random: Random sub-networks per step; 1 in the paper.
        match: What is compared: ``classes``, ``values``, or ``auto`` by the task's targets.

    Example:
        >>> import torch
        >>> from supple import Elastic
        >>> from supple.elastic.training import Batches, Recipe, SuperPlusRandom, train
        >>> trained = torch.nn.Sequential(
        ...     torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        >>> x, y = torch.randn(64, 8), torch.randint(2, (64,))
        >>> net = Elastic(trained, (x[:4],))
        >>> log = train(net, Batches(x, y, batch_size=16), torch.nn.functional.cross_entropy,
        ...             SuperPlusRandom(), Recipe(epochs=2, lr=0.01))
        >>> len(log.losses)
        8
    """

    name: ClassVar[str] = "super_plus_random"
    takes_teacher: ClassVar[bool] = True

    temperature: float = 5.0
    distil_weight: float = 1.0
    n_random: int = 1
    match: Match = "auto"

    def __post_init__(self) -> None:
        check_matching(self.name, self.temperature, self.match)
        if self.n_random < 1 or self.distil_weight < 0:
            raise TrainingError(
                f"The training rule 'super_plus_random' got n_random={self.n_random}, "
                f"distil_weight={self.distil_weight}.",
                hint="n_random of 1 or more, and a distil_weight of 0 or more",
            )

    def __call__(self, net: nn.Module, batch: Batch, step: StepContext) -> Iterator[Tensor]:
        """Yield the full network's part of the loss, then each random sub-network's."""
        space = elastic(net, self).space
        inputs, targets = batch
        outputs = call(net, inputs)
        soft = detached(outputs) if step.teacher is None else step.taught(inputs)
        yield step.loss(outputs, targets) / 2

        for _ in range(self.n_random):
            outputs = call(elastic(net, self).at(space.sample(rng=step.rng)), inputs)
            distance = match_outputs(
                outputs, soft, targets, temperature=self.temperature, match=self.match
            )
            loss = step.loss(outputs, targets) / 2 + self.distil_weight * distance
            yield loss / self.n_random
