"""Learngene pool: stitched networks whose anchors come from one large model (2312.05743).

B. Shi et al., "Building Variable-sized Models via Learngene Pool", AAAI 2024. A large model teaches
small ones of several widths, through their outputs and through a linear map of a stream of its own;
their blocks are the pool, and the stitching layers begin from the learned maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.compress.join.blocks import Stack, _stream_of
from supple.compress.join.stitching import StitchedNet, StitchingLayer
from supple.elastic._call import call
from supple.elastic.training import Recipe, TrainingLog, match_outputs, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["LearngenePool"]


@implements(67)
class LearngenePool:
    """Students of one teacher, and the networks stitched from them.

    A student's loss is (1 - weight) task + weight KL to the teacher + features · the squared
    distance of its last stream to a learned linear map of the teacher's.

    Args:
        teacher: The large model; it is not trained.
        students: Untrained models, from small to large, trained in place.
        stacks: Where the blocks of the teacher, then of each student are.
        weight: Share of the teacher's outputs.
        features: Weight of the distance between streams; the paper's is not known. At 1 the small
            students of the claim learned the stream and not the task.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import LearngenePool, find_stack
        >>> from supple.elastic.training import Batches, Recipe
        >>> class Block(nn.Module):
        ...     def __init__(self, width):
        ...         super().__init__()
        ...         self.linear = nn.Linear(width, width)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> def model(width):
        ...     blocks = nn.Sequential(Block(width), Block(width))
        ...     return nn.Sequential(nn.Linear(3, width), blocks, nn.Linear(width, 2))
        >>> x, y = torch.randn(64, 3), torch.randint(2, (64,))
        >>> data, teacher, students = Batches(x, y, batch_size=16), model(16), [model(4), model(8)]
        >>> stacks = [find_stack(network, x) for network in (teacher, *students)]
        >>> pool = LearngenePool(teacher, students, stacks)
        >>> for student in range(2):
        ...     log = pool.distil(student, data, nn.functional.cross_entropy, Recipe(epochs=1))
        >>> len(pool.build(x).space["network"].options)
        6
    """

    def __init__(
        self,
        teacher: nn.Module,
        students: Sequence[nn.Module],
        stacks: Sequence[Stack],
        *,
        weight: float = 0.5,
        features: float = 0.1,
    ) -> None:
        if len(stacks) != len(students) + 1:
            raise CompressError(
                f"{len(students)} students and {len(stacks)} stacks were given.",
                hint="the teacher's stack first, then one for each student.",
            )
        if not 0 <= weight <= 1 or features < 0:
            raise CompressError(
                f"a learngene pool got weight={weight!r}, features={features!r}.",
                hint="weight from 0 to 1, features from 0 up.",
            )
        self.teacher, self.students = teacher, list(students)
        self.stacks = tuple(stacks)
        self.weight, self.features = weight, features
        self.maps: list[nn.Linear | None] = [None] * len(self.students)

    def distil(
        self, student: int, data: Any, loss: Any, recipe: Recipe, **settings: Any
    ) -> TrainingLog:
        """Trains one student and the map of the teacher's stream to its own.

        Args:
            student: Its number.
            data: Batches.
            loss: The task's ``loss(outputs, targets)``.
            recipe: How long and how fast.
            **settings: Further arguments of `supple.elastic.training.train`.
        """
        pair = _Taught(
            self.teacher, self.students[student], self.stacks[0], self.stacks[student + 1]
        )
        weight, features = self.weight, self.features

        def rule(net: nn.Module, batch: Any, step: Any) -> Tensor:
            inputs, targets = batch
            assert isinstance(net, _Taught)
            outputs, taught, distance = net.compared(inputs)
            task = step.loss(outputs, targets)
            soft = match_outputs(outputs, taught, targets, temperature=1.0, match="auto")
            total: Tensor = (1 - weight) * task + weight * soft + features * distance
            return total

        first = next(iter(data))[0]
        pair.measure(first)
        log = train(pair, data, loss, rule, recipe, **settings)
        self.maps[student] = pair.map
        return log

    def build(
        self,
        inputs: Any,
        *,
        init: Literal["learned", "least squares", "random"] = "learned",
        **settings: Any,
    ) -> StitchedNet:
        """The students as anchors of a `StitchedNet`.

        The learned maps go from the teacher to each student; a stitch from student a to student b
        begins as (map b) · (pseudo-inverse of map a). The paper takes a transpose, which is the
        same for maps with orthogonal rows only.

        Args:
            inputs: A batch, for the widths and for least squares.
            init: How the stitching layers begin.
            **settings: Of `StitchedNet`.

        Raises:
            CompressError: Learned maps are asked for and a student was not distilled.
        """
        net = StitchedNet(self.students, self.stacks[1:], **settings)
        net.initialise(inputs, how="random" if init == "random" else "least squares")
        if init == "learned":
            for stitch in net.stitches.values():
                if stitch.layer:
                    self._begin(net.stitching[stitch.layer], stitch.anchor)
        return net

    def _begin(self, layer: nn.Module, anchor: int) -> None:
        front, back = self.maps[anchor], self.maps[anchor + 1]
        if front is None or back is None:
            raise CompressError(
                "the maps of the teacher's stream are not learned yet.",
                hint='distil(student, …) for every student, or init="least squares".',
            )
        assert isinstance(layer, StitchingLayer)
        with torch.no_grad():
            weight = back.weight @ torch.linalg.pinv(front.weight)
            layer.weight.copy_(weight)
            layer.bias.copy_(back.bias - weight @ front.bias)


class _Taught(nn.Module):
    """A student beside its frozen teacher, and the map between their streams."""

    map: nn.Linear

    def __init__(
        self, teacher: nn.Module, student: nn.Module, teacher_stack: Stack, stack: Stack
    ) -> None:
        super().__init__()
        self.student = student
        self.__dict__["teacher"] = teacher  # not a child: it is neither trained nor saved
        self._ends = teacher_stack.of(teacher)[-1], stack.of(student)[-1]

    def measure(self, inputs: Any) -> None:
        """Makes the map, for the widths of the streams."""
        with torch.no_grad():
            streams = self._run(inputs)[2:]
        self.map = nn.Linear(streams[0].shape[-1], streams[1].shape[-1]).to(streams[0])

    def _run(self, inputs: Any) -> tuple[Any, Any, Tensor, Tensor]:
        kept: list[Tensor] = []
        hooks = [
            end.register_forward_hook(lambda m, i, output: kept.append(_stream_of(output)))
            for end in self._ends
        ]
        teacher: nn.Module = self.__dict__["teacher"]
        was = teacher.training
        try:
            with torch.no_grad():
                taught = call(teacher.eval(), inputs)
            outputs = call(self.student, inputs)
        finally:
            teacher.train(was)
            for hook in hooks:
                hook.remove()
        return outputs, taught, kept[0], kept[1]

    def compared(self, inputs: Any) -> tuple[Any, Any, Tensor]:
        """Outputs of both, and the distance of the streams."""
        outputs, taught, theirs, own = self._run(inputs)
        return outputs, taught, (own - self.map(theirs)).square().mean()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The student."""
        return self.student(*args, **kwargs)
