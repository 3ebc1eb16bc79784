"""From the elastic structure of a model to a space of named choices."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from supple.space import Condition, Depth, Kernel, Space, Width
from supple.trace import Stage, Structure

__all__ = ["Elasticity", "build_space"]


@dataclass(frozen=True, kw_only=True)
class Elasticity:
    """How far and how finely a model may be varied.

    Args:
        ratios: Fractions of an axis that may be kept, rounded to multiples; 1 is always offered.
        multiple_of: Kept sizes are multiples of this; None takes the power of two that leaves
            at least eight steps, at most 8. Heads and groups are never rounded.
        min_depth_ratio: Smallest fraction of a stage's skippable blocks, rounded down.
        min_kernel: Smallest convolution window.
        fixed: Patterns (``*`` and ``?``) of choice names that are left whole.
        widths: Whether widths are choices at all.
        depths: Whether depths are.
        kernels: Whether kernel sizes are.
    """

    ratios: tuple[float, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    multiple_of: int | None = None
    min_depth_ratio: float = 0.25
    min_kernel: int = 3
    fixed: tuple[str, ...] = field(default=())
    widths: bool = True
    depths: bool = True
    kernels: bool = True

    def allows(self, name: str) -> bool:
        """No pattern of ``fixed`` matches the name."""
        return not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.fixed)

    def width_options(self, size: int, role: str) -> tuple[int, ...]:
        """The sizes offered for an axis."""
        step = self.multiple_of or min(8, 2 ** max(0, int(math.log2(size)) - 3))
        if role in ("heads", "groups"):
            step = 1
        sizes = {max(step, round(size * ratio / step) * step) for ratio in self.ratios}
        return tuple(sorted({min(n, size) for n in sizes} | {size}))


def build_space(
    structure: Structure, elasticity: Elasticity, orders: Mapping[str, tuple[int, ...]]
) -> Space:
    """The space of a structure.

    Args:
        structure: What may vary.
        elasticity: How far.
        orders: For each stage the positions of its blocks, the one to keep longest first.
    """
    choices: dict[str, Width | Depth | Kernel] = {}
    inside: dict[str, Condition] = {}
    if elasticity.depths:
        for stage in structure.stages:
            choice = _depth(stage, elasticity)
            name = f"{stage.name}.depth"
            if len(choice.options) < 2 or not elasticity.allows(name):
                continue
            choices[name] = choice
            for rank, position in enumerate(orders[stage.name]):
                holds = tuple(o for o in choice.options if isinstance(o, int) and o > rank)
                for parameter in stage.blocks[position].parameters:
                    inside[parameter] = Condition(choice=name, options=holds)
    parameters = set(structure.parameters)
    if elasticity.widths:
        for axis in structure.axes:
            options = elasticity.width_options(axis.size, axis.role)
            if len(options) < 2 or not elasticity.allows(axis.name):
                continue
            owners = [m.tensor for m in axis.members if m.tensor in parameters]
            choices[axis.name] = Width(
                options=options, size=axis.size, when=_conditions(owners, inside)
            )
    if elasticity.kernels:
        for kernel in structure.kernels:
            sizes = tuple(range(max(1, elasticity.min_kernel), kernel.size + 1, 2))
            name = f"{kernel.name}.kernel"
            if len(sizes) > 1 and elasticity.allows(name):
                choices[name] = Kernel(
                    options=sizes, size=kernel.size, when=_conditions([kernel.weight], inside)
                )
    return Space(choices)


def _depth(stage: Stage, elasticity: Elasticity) -> Depth:
    count = len(stage.blocks)
    least = math.floor(count * elasticity.min_depth_ratio)
    return Depth(options=tuple(range(least, count + 1)), size=count)


def _conditions(owners: list[str], inside: Mapping[str, Condition]) -> tuple[Condition, ...]:
    """Active if any block that uses the axis is there; always, if one is never skipped."""
    if not owners or any(owner not in inside for owner in owners):
        return ()
    return tuple(dict.fromkeys(inside[owner] for owner in owners))
