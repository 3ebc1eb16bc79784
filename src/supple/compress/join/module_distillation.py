"""m2mKD: a modular student learns from a plain teacher module by module (2402.16918).

K. M. Lo et al., "m2mKD: Module-to-Module Knowledge Distillation for Modular Transformers", 2024.
Module i of the teacher and module i of the student are each put into the same small frozen meta
model (that of deep incubation); the student's hybrid learns the task and the teacher's hybrid's
outputs. Then the student's modules are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supple.compress.join.blocks import Stack, assembled
from supple.compress.join.deep_incubation import frozen_but, split_blocks
from supple.elastic._call import call
from supple.elastic.training import Plain, Recipe, TrainingLog, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["ModuleDistiller", "hybrid_loss"]


def hybrid_loss(
    student: Tensor, teacher: Tensor, task: Tensor, *, alpha: float, tau: float
) -> Tensor:
    """(1 - alpha) task + alpha tau^2 KL(teacher || student) / classes, over class scores.

    The divergence is divided by batch and classes, as DeiT does it.

    Args:
        student: Scores, shape (batch, classes).
        teacher: Scores.
        task: The task's loss.
        alpha: Share of the teacher.
        tau: Temperature.

    Example:
        >>> import torch
        >>> from supple.compress.join import hybrid_loss
        >>> scores = torch.randn(4, 3)
        >>> float(hybrid_loss(scores, scores, torch.tensor(2.0), alpha=0.5, tau=1.0))
        1.0
    """
    distance = F.kl_div(
        F.log_softmax(student / tau, 1), F.log_softmax(teacher / tau, 1),
        reduction="sum", log_target=True,
    ) / student.numel()  # fmt: skip
    return (1 - alpha) * task + alpha * tau**2 * distance


@implements(56)
class ModuleDistiller:
    """Trains each module of a student beside the teacher's module of the same number.

    Args:
        meta: The frozen small model that both are put into.
        teacher: The trained model.
        student: The modular model.
        stack: Where the blocks of each of the three are.
        teacher_depths: Blocks of each module of the teacher.
        student_depths: Blocks of each module of the student.
        widths: Width of the stream of meta, teacher and student.
        alpha: Share of the teacher in the loss.
        tau: Temperature.

    Where a width is not that of the meta model, linear layers stand before and behind the module
    (none before the first and behind the last), which are trained with it and then dropped. Those
    of the teacher have to be trained, too: see `fit_teacher_stitches`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import ModuleDistiller, find_stack
        >>> from supple.elastic.training import Batches, Recipe
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(8, 8)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> def model(blocks):
        ...     stack = nn.Sequential(*(Block() for _ in range(blocks)))
        ...     return nn.Sequential(nn.Linear(3, 8), stack, nn.Linear(8, 2))
        >>> x, y = torch.randn(64, 3), torch.randint(2, (64,))
        >>> data, student = Batches(x, y, batch_size=16), model(2)
        >>> distiller = ModuleDistiller(model(2), model(4), student, stack=find_stack(student, x),
        ...     teacher_depths=[2, 2], student_depths=[1, 1], widths=(8, 8, 8))
        >>> for module in range(2):
        ...     log = distiller.fit(module, data, nn.functional.cross_entropy, Recipe(epochs=1))
        >>> distiller.assemble() is student
        True
    """

    def __init__(
        self,
        meta: nn.Module,
        teacher: nn.Module,
        student: nn.Module,
        *,
        stack: Stack,
        teacher_depths: Sequence[int],
        student_depths: Sequence[int],
        widths: tuple[int, int, int],
        alpha: float = 0.5,
        tau: float = 1.0,
    ) -> None:
        if not 0 <= alpha <= 1 or tau <= 0:
            raise CompressError(
                f"module distillation got alpha={alpha!r}, tau={tau!r}.",
                hint="alpha from 0 to 1, tau above 0.",
            )
        if len(teacher_depths) != len(student_depths):
            raise CompressError(
                f"a teacher of {len(teacher_depths)} modules cannot teach one of "
                f"{len(student_depths)}.",
                hint="as many modules in both.",
            )
        self.meta, self.teacher, self.student, self.stack = meta, teacher, student, stack
        self.alpha, self.tau = alpha, tau
        self.count = len(student_depths)
        self.teacher_parts = split_blocks(stack.of(teacher), teacher_depths)
        self.student_parts = split_blocks(stack.of(student), student_depths)
        self.meta_parts = split_blocks(stack.of(meta), [1] * self.count)
        self.stitches = {
            "teacher": self._stitches(widths[0], widths[1]),
            "student": self._stitches(widths[0], widths[2]),
        }

    def _stitches(self, meta: int, own: int) -> list[tuple[nn.Module, nn.Module]]:
        if meta == own:
            return [(nn.Identity(), nn.Identity()) for _ in range(self.count)]
        return [
            (
                nn.Identity() if i == 0 else nn.Linear(meta, own),
                nn.Identity() if i == self.count - 1 else nn.Linear(own, meta),
            )
            for i in range(self.count)
        ]

    def hybrid(self, module: int, of: str) -> nn.Module:
        """The meta model with one module of the teacher or the student in it."""
        module %= self.count
        owner = self.teacher if of == "teacher" else self.student
        own = (self.teacher_parts if of == "teacher" else self.student_parts)[module]
        before, behind = self.stitches[of][module]
        parts = list(self.meta_parts)
        parts[module] = [before, *own, behind]
        first = owner if module == 0 else self.meta
        last = owner if module == self.count - 1 else self.meta
        sources = [first, *[self.meta] * max(0, self.count - 2), last]
        return assembled(sources if self.count > 1 else [owner], parts, self.stack)

    def fit_teacher_stitches(self, data: Any, loss: Any, recipe: Recipe, **settings: Any) -> None:
        """Trains the layers around the teacher's modules on the task; none where widths agree."""
        for module in range(self.count):
            hybrid = self.hybrid(module, "teacher")
            layers = [s for s in self.stitches["teacher"][module] if list(s.parameters())]
            if layers:
                with frozen_but(hybrid, layers):
                    train(hybrid, data, loss, Plain(), recipe, **settings)

    def fit(
        self, module: int, data: Any, loss: Any, recipe: Recipe, **settings: Any
    ) -> TrainingLog:
        """Trains one module of the student; nothing else but its stitches changes.

        Args:
            module: Its number; -1 is the last.
            data: Batches.
            loss: The task's ``loss(outputs, targets)``.
            recipe: How long and how fast.
            **settings: Further arguments of `supple.elastic.training.train`.
        """
        module %= self.count
        student, teacher = self.hybrid(module, "student"), self.hybrid(module, "teacher").eval()

        def rule(net: nn.Module, batch: Any, step: Any) -> Tensor:
            inputs, targets = batch
            with torch.no_grad():
                taught = call(teacher, inputs)
            outputs = call(net, inputs)
            task = step.loss(outputs, targets)
            return hybrid_loss(outputs, taught, task, alpha=self.alpha, tau=self.tau)

        owned: list[nn.Module] = [*self.student_parts[module], *self.stitches["student"][module]]
        owned += self._ends(module)
        with frozen_but(student, owned):
            return train(student, data, loss, rule, recipe, **settings)

    def _ends(self, module: int) -> list[nn.Module]:
        top = self.stack.container.partition(".")[0]
        names = [name for name, _ in self.student.named_children()]
        place = names.index(top) if top else 0
        chosen = names[:place] if module == 0 else []
        chosen = chosen + (names[place + 1 :] if module == self.count - 1 else [])
        return [self.student.get_submodule(name) for name in chosen]

    def assemble(self) -> nn.Module:
        """The student, to be trained as a whole."""
        return self.student
