"""Deep incubation: a deep network trained in pieces beside a shallow one (2212.04129).

Z. Ni et al., "Deep Incubation: Training Large Models by Divide-and-Conquering", ICCV 2023. A meta
model of one block per module is trained; each module of the deep model is then trained alone in
the place of its block of the meta model, whose other parts stay; all are put together and trained
for a short while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from supple.compress.join.blocks import assembled, find_stack
from supple.elastic.training import Recipe, Rule, TrainingLog, train
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["DeepIncubation", "frozen_but", "split_blocks"]


def split_blocks(blocks: Sequence[nn.Module], depths: Sequence[int]) -> list[list[nn.Module]]:
    """Consecutive blocks as modules of the given depths.

    Raises:
        CompressError: The depths do not add up to the number of blocks, or one is below 1.

    Example:
        >>> from torch import nn
        >>> from supple.compress.join import split_blocks
        >>> [len(part) for part in split_blocks([nn.ReLU() for _ in range(5)], [2, 3])]
        [2, 3]
    """
    if sum(depths) != len(blocks) or min(depths, default=0) < 1:
        raise CompressError(
            f"modules of {', '.join(map(str, depths))} blocks do not make up {len(blocks)}.",
            hint="depths from 1 up that add up to the number of blocks.",
        )
    ends = [sum(depths[: i + 1]) for i in range(len(depths))]
    return [list(blocks[end - depth : end]) for depth, end in zip(depths, ends, strict=True)]


@contextmanager
def frozen_but(network: nn.Module, trained: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, only parameters of ``trained`` ask for a gradient.

    Running statistics of batch norms go on with the batches everywhere.
    """
    wanted = {id(p) for module in trained for p in module.parameters()}
    before = [(p, p.requires_grad) for p in network.parameters()]
    try:
        for parameter, asked in before:
            parameter.requires_grad_(asked and id(parameter) in wanted)
        yield
    finally:
        for parameter, asked in before:
            parameter.requires_grad_(asked)


@implements(115)
class DeepIncubation:
    """The three phases; the modules' phase can be done in any order, or on several machines.

    The stem belongs to the first module and the head to the last: they are trained with them.

    Args:
        build: ``build(blocks)`` gives an untrained model with so many blocks; models differ in
            nothing else.
        depths: Blocks of each module of the deep model.
        example: Inputs of one call, to find the blocks.
        meta_depth: Blocks of each module of the meta model.

    Attributes:
        meta: The meta model.
        target: The deep model; `train_module` trains its parts.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.join import DeepIncubation
        >>> from supple.elastic.training import Batches, Recipe
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(8, 8)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> def build(blocks):
        ...     stack = nn.Sequential(*(Block() for _ in range(blocks)))
        ...     return nn.Sequential(nn.Linear(3, 8), stack, nn.Linear(8, 2))
        >>> x, y = torch.randn(64, 3), torch.randint(2, (64,))
        >>> data, loss = Batches(x, y, batch_size=16), torch.nn.functional.cross_entropy
        >>> incubation = DeepIncubation(build, [2, 2], example=x)
        >>> recipe = Recipe(epochs=1, lr=0.01)
        >>> _ = incubation.train_meta(data, loss, recipe)
        >>> for module in range(2):
        ...     _ = incubation.train_module(module, data, loss, recipe)
        >>> len(incubation.assemble()[1])
        4
    """

    def __init__(
        self,
        build: Callable[[int], nn.Module],
        depths: Sequence[int],
        *,
        example: Any,
        meta_depth: int = 1,
    ) -> None:
        self.target = build(sum(depths))
        self.meta = build(meta_depth * len(depths))
        self.stack = find_stack(self.target, example)
        self.depths = tuple(depths)
        self.parts = split_blocks(self.stack.of(self.target), depths)
        self.meta_parts = split_blocks(self.stack.of(self.meta), [meta_depth] * len(depths))

    def hybrid(self, module: int) -> nn.Module:
        """The meta model with one module of the deep model in the place of its own."""
        self._check(module)
        sources = [self.target if i == module else self.meta for i in range(len(self.parts))]
        parts = [
            own if i == module else meta
            for i, (own, meta) in enumerate(zip(self.parts, self.meta_parts, strict=True))
        ]
        if module not in (0, len(self.parts) - 1):
            sources = [self.meta] * len(self.parts)
        return assembled(sources, parts, self.stack)

    def train_meta(self, data: Any, loss: Any, recipe: Recipe, **settings: Any) -> TrainingLog:
        """Phase one: the meta model, end to end.

        Args:
            data: Batches.
            loss: ``loss(outputs, targets)``.
            recipe: How long and how fast.
            **settings: Further arguments of `supple.elastic.training.train`.
        """
        return train(self.meta, data, loss, _plain(settings), recipe, **settings)

    def train_module(
        self, module: int, data: Any, loss: Any, recipe: Recipe, **settings: Any
    ) -> TrainingLog:
        """Phase two: one module in the place of its meta module; nothing else changes.

        Args:
            module: Its number; negative ones count from the end.
            data: Batches.
            loss: ``loss(outputs, targets)``.
            recipe: How long and how fast.
            **settings: Further arguments of `supple.elastic.training.train`.
        """
        self._check(module)
        hybrid = self.hybrid(module % len(self.parts))
        with frozen_but(hybrid, self.owned(module % len(self.parts))):
            return train(hybrid, data, loss, _plain(settings), recipe, **settings)

    def owned(self, module: int) -> list[nn.Module]:
        """What a module consists of: its blocks, for the first the stem, for the last the head."""
        found: list[nn.Module] = list(self.parts[module])
        last = len(self.parts) - 1
        if module in (0, last):
            top = self.stack.container.partition(".")[0]
            names = [name for name, _ in self.target.named_children()]
            before = names[: names.index(top)] if top else []
            after = names[names.index(top) + 1 :] if top else []
            for name in [*(before if module == 0 else []), *(after if module == last else [])]:
                found.append(self.target.get_submodule(name))
        return found

    def assemble(self) -> nn.Module:
        """The deep model, for phase three: `train` it as a whole."""
        return self.target

    def _check(self, module: int) -> None:
        if not -len(self.parts) <= module < len(self.parts):
            raise CompressError(
                f"there is no module {module} of {len(self.parts)}.", hint="numbers from 0."
            )


def _plain(settings: dict[str, Any]) -> Rule:
    from supple.elastic.training import Plain

    rule: Rule = settings.pop("rule", Plain())
    return rule
