"""From the elastic structure of a model to a space of named choices."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from torch.fx import Node

from supple.elastic._together import Together, ties
from supple.errors import SpaceError, near_misses
from supple.space import Choice, Condition, Depth, Kernel, Resolution, Space, Swap, Width
from supple.trace import ElasticAxis, ElasticKernel, Stage, Structure, SwapSite

__all__ = ["Elasticity", "build_space"]

PerGlob = int | Mapping[str, int] | tuple[tuple[str, int], ...]
"""One number for all, or one for each pattern of names; the first that matches counts."""


@dataclass(frozen=True, kw_only=True)
class Elasticity:
    """How far and how finely a model may be varied.

    Patterns (``*`` and ``?``) match the name of a choice (``blocks.0.mlp.0.width``), of a
    parameter that it cuts (``blocks.*.mlp.*``), or of a block that it skips.

    Args:
        ratios: Fractions of an axis that may be kept, rounded to multiples; 1 is always offered.
        multiple_of: Kept sizes are multiples of this, the full size apart; None takes the power
            of two that leaves at least eight steps, at most 8.
        min_size: Fewest indices of an axis that are kept. Heads and groups follow this and
            ``multiple_of`` only where a pattern says so.
        min_depth_ratio: Smallest fraction of a stage's skippable blocks, rounded down.
        min_kernel: Smallest convolution window.
        fixed: Patterns of what is left whole.
        together: Groups of choices that move together, each a pattern of names of choices or
            several: those of one full size have the same option. ``("*.mlp.*.width",)`` keeps
            all layers alike, as the config of a Hugging Face model needs it.
        widths: Whether widths are choices at all.
        depths: Whether depths are.
        parts: Whether the parts of a layer, its attention and its MLP, may be left out one by one.
        kernels: Whether kernel sizes are.
        swaps: Whether the alternatives of swap points are.
        experts: Whether the experts of a mixture may be fewer: those that a router scores with a
            softmax or picks the best of, from a stack of weights. The scores of the rest are
            normalised over the rest, so a cut is not the same as weights of zero.
        input_ratios: Fractions of the side of images, or else of the length of sequences of
            tokens, to which a sub-network may make its input smaller; none are offered by
            default. Each is captured as a graph of its own, where the model takes it and its
            output keeps its shape.

    Raises:
        SpaceError: A number is out of range.

    Example:
        >>> elasticity = Elasticity(multiple_of={"*.mlp.*": 16}, min_size=8, fixed=("embed.*",))
        >>> elasticity.width_options(64, "width", ("blocks.0.mlp.0.width",))
        (16, 32, 48, 64)
    """

    ratios: tuple[float, ...] = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    multiple_of: PerGlob | None = None
    min_size: PerGlob = 1
    min_depth_ratio: float = 0.25
    min_kernel: int = 3
    fixed: tuple[str, ...] = ()
    together: Together = ()
    widths: bool = True
    depths: bool = True
    parts: bool = False
    kernels: bool = True
    swaps: bool = True
    experts: bool = False
    input_ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for field in ("multiple_of", "min_size"):
            value = getattr(self, field)
            if isinstance(value, Mapping):  # hashable, as every value of a method is
                object.__setattr__(self, field, tuple(value.items()))
            if any(n < 1 for n in _numbers(getattr(self, field))):
                raise _out_of_range(field, value, "at least 1")
        for field in ("ratios", "fixed", "input_ratios"):
            value = getattr(self, field)
            object.__setattr__(self, field, (value,) if isinstance(value, str) else tuple(value))
        groups = (self.together,) if isinstance(self.together, str) else self.together
        grouped = tuple(g if isinstance(g, str) else tuple(g) for g in groups)
        object.__setattr__(self, "together", grouped)
        for field in ("ratios", "input_ratios"):
            if not all(0 < ratio <= 1 for ratio in getattr(self, field)):
                raise _out_of_range(field, getattr(self, field), "fractions above 0 and up to 1")
        if not 0 <= self.min_depth_ratio <= 1:
            raise _out_of_range("min_depth_ratio", self.min_depth_ratio, "from 0 to 1")
        if self.min_kernel < 1:
            raise _out_of_range("min_kernel", self.min_kernel, "at least 1")

    @property
    def patterns(self) -> tuple[str, ...]:
        """All patterns of names."""
        tables = (v for v in (self.multiple_of, self.min_size) if isinstance(v, tuple))
        return (*self.fixed, *(pattern for table in tables for pattern, _ in table))

    def allows(self, names: Iterable[str]) -> bool:
        """No pattern of ``fixed`` matches any of the names."""
        return not any(_matches(pattern, names) for pattern in self.fixed)

    def width_options(
        self, size: int, role: str, names: Collection[str] = (), *, least: int = 1
    ) -> tuple[int, ...]:
        """The sizes offered for an axis.

        Args:
            size: The full size.
            role: What the axis is: ``"width"``, ``"heads"``, …
            names: The names that patterns are matched with.
            least: Fewest indices that the network can do with.
        """
        is_counted = role in ("heads", "groups", "experts")
        step = _look_up(self.multiple_of, names, is_counted)
        if step is None:
            step = 1 if is_counted else min(8, 2 ** max(0, int(math.log2(size)) - 3))
        least = max(least, _look_up(self.min_size, names, is_counted) or 1)
        least = max(step, math.ceil(least / step) * step)
        sizes = {max(least, round(size * ratio / step) * step) for ratio in self.ratios}
        return tuple(sorted({min(n, size) for n in sizes} | {size}))

    def depth_options(self, count: int) -> tuple[int, ...]:
        """The numbers of blocks offered for a stage of ``count``."""
        return tuple(range(math.floor(count * self.min_depth_ratio), count + 1))

    def kernel_options(self, kernel: ElasticKernel) -> tuple[int, ...]:
        """The windows offered for a convolution."""
        least = max(kernel.least, self.min_kernel)
        return tuple(n for n in range(1, kernel.size + 1, 2) if n >= least or n == kernel.size)


def _out_of_range(field: str, value: object, wanted: str) -> SpaceError:
    return SpaceError(
        f"Elasticity got {field}={value!r}.", why=f"It has to be {wanted}.", field=field
    )


def _numbers(value: PerGlob | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(dict(value).values())


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _look_up(value: PerGlob | None, names: Collection[str], is_counted: bool) -> int | None:
    if value is None or isinstance(value, int):
        return None if is_counted else value
    pairs = value.items() if isinstance(value, Mapping) else value
    return next((number for pattern, number in pairs if _matches(pattern, names)), None)


def build_space(
    structure: Structure,
    elasticity: Elasticity,
    orders: Mapping[str, tuple[int, ...]],
    left_whole: Collection[str] = (),
    sizes: tuple[str, tuple[int, ...]] | None = None,
) -> Space:
    """The space of a structure.

    Args:
        structure: What may vary.
        elasticity: How far.
        orders: For each stage the positions of its blocks, the one to keep longest first.
        left_whole: Names of choices that are not offered.
        sizes: Name of the choice of the input's size, and its options; None without one.

    Raises:
        SpaceError: A pattern of the elasticity matches nothing.
    """
    _check_patterns(structure, elasticity)
    choices: dict[str, Width | Depth | Kernel | Swap] = {}
    offered = [
        site
        for site in structure.swaps
        if elasticity.swaps
        and elasticity.allows((site.choice, *_names_of_swap(site)))
        and site.choice not in left_whole
    ]
    swapped = {
        name: Condition(choice=site.choice, options=(option,))
        for site in offered
        for option in site.options
        for name in site.parameters(option)
    }
    inside: dict[str, Condition] = {}
    around: list[tuple[set[Node], Condition]] = []
    for stage in structure.stages:
        name, options = f"{stage.name}.depth", elasticity.depth_options(len(stage.blocks))
        is_offered = elasticity.depths and elasticity.allows(_names_of_stage(stage))
        if not is_offered or len(options) < 2 or name in left_whole:
            continue
        own = [p for block in stage.blocks for p in block.parameters]
        when = _conditions(own, swapped)  # the whole stage may be part of an alternative
        choices[name] = Depth(options=options, size=len(stage.blocks), when=when)
        for rank, position in enumerate(orders[stage.name]):
            holds = Condition(choice=name, options=tuple(o for o in options if o > rank))
            block = stage.blocks[position]
            inside |= dict.fromkeys(block.parameters, holds)
            around.append(({n for b in block.branches for n in b.region}, holds))
            swapped = {k: v for k, v in swapped.items() if not when or k not in inside}
    for part in structure.parts if elasticity.parts else ():
        name, options = f"{part.name}.depth", elasticity.depth_options(len(part.blocks))
        if elasticity.allows(_names_of_stage(part)) and len(options) > 1 and name not in left_whole:
            own = [p for block in part.blocks for p in block.parameters]
            when = _conditions(own, inside | swapped)
            choices[name] = Depth(options=options, size=len(part.blocks), when=when)
    for site in offered:
        choices[site.choice] = Swap(options=site.options, when=_around(site, around))
    inside |= swapped
    parameters = set(structure.parameters)
    for axis in structure.axes if elasticity.widths else ():
        names = _names_of_axis(axis)
        options = elasticity.width_options(axis.size, axis.role, names, least=axis.least)
        if len(options) < 2 or not elasticity.allows(names) or axis.name in left_whole:
            continue
        owners = [m.tensor for m in axis.members if m.tensor in parameters]
        choices[axis.name] = Width(
            options=options, size=axis.size, when=_conditions(owners, inside)
        )
    for kernel in structure.kernels if elasticity.kernels else ():
        name, options = f"{kernel.name}.kernel", elasticity.kernel_options(kernel)
        if len(options) > 1 and elasticity.allows((name, kernel.weight)) and name not in left_whole:
            when = _conditions([kernel.weight], inside)
            choices[name] = Kernel(options=options, size=kernel.size, when=when)
    offers: dict[str, Choice] = {**choices}
    if sizes is not None and len(sizes[1]) > 1 and elasticity.allows((sizes[0],)):
        offers[sizes[0]] = Resolution(options=sizes[1])
    return Space(offers, ties(elasticity.together, choices))


def _around(site: SwapSite, around: list[tuple[set[Node], Condition]]) -> tuple[Condition, ...]:
    """Active if any block around one of its calls is there; always, if one is in no block."""
    found = []
    for join in {branch.join for _, branch in site.keyed}:
        holds = [condition for region, condition in around if join in region]
        if not holds:
            return ()
        found += holds
    return tuple(dict.fromkeys(found))


def _names_of_swap(site: SwapSite) -> list[str]:
    return [name for option in site.options for name in sorted(site.parameters(option))]


def _names_of_stage(stage: Stage) -> tuple[str, ...]:
    return (f"{stage.name}.depth", *(block.name for block in stage.blocks))


def _names_of_axis(axis: ElasticAxis) -> tuple[str, ...]:
    return (axis.name, *dict.fromkeys(member.tensor for member in axis.members))


def _check_patterns(structure: Structure, elasticity: Elasticity) -> None:
    stages = (*structure.stages, *structure.parts)
    known = [name for stage in stages for name in _names_of_stage(stage)]
    known += [n for site in structure.swaps for n in (site.choice, *_names_of_swap(site))]
    known += [name for axis in structure.axes for name in _names_of_axis(axis)]
    known += [n for kernel in structure.kernels for n in (f"{kernel.name}.kernel", kernel.weight)]
    known += [fixed.name.partition("[")[0] for fixed in structure.fixed()]
    for pattern in elasticity.patterns:
        if not _matches(pattern, known):
            raise SpaceError(
                f"the pattern '{pattern}' of Elasticity matches nothing in this model.",
                hint=f"{near_misses(pattern, set(known))} net.report() lists all names.",
                pattern=pattern,
            )


def _conditions(owners: list[str], inside: Mapping[str, Condition]) -> tuple[Condition, ...]:
    """Active if any block that uses the axis is there; always, if one is never skipped."""
    if not owners or any(owner not in inside for owner in owners):
        return ()
    return tuple(dict.fromkeys(inside[owner] for owner in owners))
