"""Swap points: places of a model where one of several modules stands.

A `SwapPoint` runs one of its alternatives. While a model is captured it runs them all and joins
them with the operator ``supple::choose``, so that one graph holds every alternative; the axes of
what they take and give are then one and the same. The generated programs run only the calls of
the alternative that a config names, and `extract` leaves the others out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from supple.errors import SpaceError, TraceError, near_misses

if TYPE_CHECKING:
    from supple.trace._residual import Branch

__all__ = ["CHOOSE", "SwapPoint", "SwapSite", "all_alternatives"]

ORIGINAL = "original"

_LIBRARY = torch.library.Library("supple", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("choose(Tensor[] options, str names) -> Tensor")  # type: ignore[no-untyped-call]


def _first(options: list[Tensor], names: str) -> Tensor:
    return options[0].clone()


_LIBRARY.impl("choose", _first, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
CHOOSE = torch.ops.supple.choose.default
"""Marks where one of several values is taken; no program of supple ever calls it."""


class SwapPoint(nn.Module):
    """One of several modules that take and give the same.

    Args:
        alternatives: The modules by name; the first is the original.

    Attributes:
        active: Name of the one that runs.

    Example:
        >>> point = SwapPoint({"original": nn.ReLU(), "tanh": nn.Tanh()})
        >>> point.active = "tanh"
        >>> bool(point(torch.tensor(100.0)) == 1)
        True
    """

    def __init__(self, alternatives: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.alternatives = nn.ModuleDict(alternatives)
        self.active = next(iter(alternatives))
        self.runs_all = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the alternatives, the original first."""
        return tuple(self.alternatives)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the active alternative gives."""
        if not self.runs_all:
            if self.active not in self.alternatives:
                raise SpaceError(
                    f"the swap point is set to {self.active!r}.",
                    why=f"Its alternatives are {', '.join(self.names)}.",
                    hint=near_misses(self.active, self.names),
                )
            return self.alternatives[self.active](*args, **kwargs)
        results = [module(*args, **kwargs) for module in self.alternatives.values()]
        first = results[0]
        for name, result in zip(self.names, results, strict=True):
            if result.shape != first.shape or result.dtype != first.dtype:
                raise TraceError(
                    f"the alternative {name!r} gives {tuple(result.shape)} of {result.dtype}, the "
                    f"original {tuple(first.shape)} of {first.dtype}.",
                    why="Alternatives must take and give the same.",
                    hint="build it with the sizes of the module that it stands in for.",
                )
        return torch.ops.supple.choose(results, ",".join(self.names))

    def extra_repr(self) -> str:
        """Which one runs, for ``print``."""
        return f"active={self.active!r}"


@contextmanager
def all_alternatives(model: nn.Module) -> Iterator[None]:
    """Inside, every swap point of a model runs all its alternatives."""
    points = [module for module in model.modules() if isinstance(module, SwapPoint)]
    for point in points:
        point.runs_all = True
    try:
        yield
    finally:
        for point in points:
            point.runs_all = False


@dataclass(frozen=True)
class SwapSite:
    """A swap point as the graphs of a model show it.

    Attributes:
        name: Qualified name of the swap point.
        options: The names of its alternatives, the original first.
        branches: For each alternative its calls, over all graphs and all calls of the point.
    """

    name: str
    options: tuple[str, ...]
    branches: tuple[tuple[Branch, ...], ...]

    @property
    def choice(self) -> str:
        """Name of the choice."""
        return f"{self.name}.swap".lstrip(".")

    def key(self, option: str) -> str:
        """What stands for an alternative among the kept parts of a plan."""
        return f"{self.choice}={option}"

    @property
    def keyed(self) -> list[tuple[str, Branch]]:
        """Every branch with the key of its alternative."""
        return [
            (self.key(option), branch)
            for option, branches in zip(self.options, self.branches, strict=True)
            for branch in branches
        ]

    def parameters(self, option: str) -> frozenset[str]:
        """Parameters that only this alternative uses."""
        branches = self.branches[self.options.index(option)]
        return frozenset(name for branch in branches for name in branch.parameters)
