"""Residual stacks made shallow: branches side by side instead of in a row (arXiv 2309.08414).

    in a row       z_l = z_(l-1) + f_l(z_(l-1))
    side by side   z = z_0 + sum_l f_l(z_0)

The second is the first-order part of the first: with branches of size eps they differ by eps^2.
The sum of L branches has about L times the variance of one; ``scale`` is there for that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from supple.blocks._reset import reset
from supple.blocks._sizes import check_known, check_positive
from supple.errors import BlockError
from supple.papers import implements

__all__ = [
    "ParallelResidual",
    "ResidualStack",
    "fuse_parallel_convs",
    "parallelize",
    "truncation_error",
]

Mode = Literal["sequential", "parallel"]


def _same_shape(update: Tensor, x: Tensor, where: str) -> Tensor:
    if update.shape != x.shape:
        raise BlockError(
            f"{where} turns {tuple(x.shape)} into {tuple(update.shape)}.",
            why="Residual branches are added to their input, so they keep its shape.",
            hint="leave blocks that change the shape out of the stack.",
            shape=tuple(x.shape),
        )
    return update


@implements(23)
class ResidualStack(nn.Module):
    """Residual branches, in a row or side by side (arXiv 2309.08414).

    Args:
        branches: Modules that keep the shape of their input.
        mode: ``"sequential"`` or ``"parallel"``.
        group: In parallel mode, how many branches stand side by side; the groups follow each
            other. None puts all into one group.
        scale: Factor on every branch.

    Example:
        >>> import torch
        >>> stack = ResidualStack([nn.Linear(4, 4) for _ in range(3)], mode="parallel")
        >>> x = torch.randn(2, 4)
        >>> torch.allclose(stack(x), x + sum(branch(x) for branch in stack.branches))
        True
    """

    def __init__(
        self, branches: Iterable[nn.Module], *, mode: Mode = "sequential",
        group: int | None = None, scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_known("ResidualStack", "mode", mode, {"sequential": None, "parallel": None})
        self.branches = nn.ModuleList(branches)
        check_positive("ResidualStack", branches=len(self.branches))
        if group is not None:
            check_positive("ResidualStack", group=group)
        self.mode, self.group, self.scale = mode, group, scale

    def reset_parameters(self) -> None:
        """Draws the weights of the branches anew."""
        reset(self.branches)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape the branches take, kept."""
        size = 1 if self.mode == "sequential" else self.group or len(self.branches)
        branches = list(self.branches)
        for start in range(0, len(branches), size):
            group = branches[start : start + size]
            updates = [
                _same_shape(branch(x), x, f"Branch {start + i} of the stack")
                for i, branch in enumerate(group)
            ]
            x = (
                x + self.scale * torch.stack(updates).sum(0)
                if len(updates) > 1
                else (x + self.scale * updates[0])
            )
        return x

    def extra_repr(self) -> str:
        """Settings for ``print``."""
        return f"mode={self.mode}, group={self.group}, scale={self.scale}"


@implements(23)
class ParallelResidual(nn.Module):
    """Residual blocks ``x + f(x)`` of any kind, side by side: ``x + sum_l (block_l(x) - x)``.

    Args:
        blocks: Modules that keep the shape of their input.

    Example:
        >>> import torch
        >>> group = ParallelResidual([nn.Identity(), nn.Identity()])
        >>> group(torch.ones(2)).tolist()
        [1.0, 1.0]
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        check_positive("ParallelResidual", blocks=len(self.blocks))

    def reset_parameters(self) -> None:
        """Draws the weights of the blocks anew."""
        reset(self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape the blocks take, kept."""
        total = x
        for i, block in enumerate(self.blocks):
            total = total + (_same_shape(block(x), x, f"Block {i} of the group") - x)
        return total


@implements(23)
def parallelize(blocks: nn.Sequential, group: int | None = None) -> nn.Sequential:
    """A row of residual blocks as groups that stand side by side; the blocks are shared.

    Args:
        blocks: Residual blocks ``x + f(x)`` that keep the shape of their input.
        group: Blocks in a group; None puts all into one.

    Example:
        >>> row = nn.Sequential(*(nn.Identity() for _ in range(5)))
        >>> [len(part.blocks) for part in parallelize(row, group=2)]
        [2, 2, 1]
    """
    size = len(blocks) if group is None else group
    check_positive("parallelize", group=size)
    parts = list(blocks)
    return nn.Sequential(
        *(ParallelResidual(parts[i : i + size]) for i in range(0, len(parts), size))
    ).train(blocks.training)


class _FusedBranches(nn.Module):
    """One wide convolution, the activation, and the sum over branches."""

    def __init__(self, wide: nn.Conv2d, activation: nn.Module, branches: int, scale: float) -> None:
        super().__init__()
        self.wide, self.activation = wide, activation
        self.branches, self.scale = branches, scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.wide(x))
        folded: Tensor = y.view(x.shape[0], self.branches, -1, *y.shape[2:]).sum(1)
        return x + self.scale * folded


@implements(23)
def fuse_parallel_convs(stack: ResidualStack) -> nn.Module:
    """A parallel stack of ``conv, activation`` branches as one convolution of all filters.

    Raises:
        BlockError: The stack is not parallel, or its branches are not one convolution with the
            same settings and an activation without weights.

    Example:
        >>> import torch
        >>> branches = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(3)]
        >>> stack = ResidualStack(branches, mode="parallel")
        >>> fuse_parallel_convs(stack).wide.weight.shape
        torch.Size([12, 4, 3, 3])
    """
    convolutions: list[nn.Conv2d] = []
    activations: list[nn.Module] = []
    for branch in stack.branches:
        parts = list(branch.children())
        if len(parts) != 2 or type(parts[0]) is not nn.Conv2d or list(parts[1].parameters()):
            raise _not_fusable("a branch is not a convolution and an activation")
        convolutions.append(parts[0])
        activations.append(parts[1])
    first = convolutions[0]
    settings = {
        (c.bias is None, c.stride, c.padding, c.dilation, c.groups, c.padding_mode)
        for c in convolutions
    }
    whole = stack.mode == "parallel" and (stack.group or 0) in (0, len(stack.branches))
    if not whole:
        raise _not_fusable("its branches are not all side by side")
    if len(settings) > 1 or first.groups != 1 or len({repr(a) for a in activations}) > 1:
        raise _not_fusable("its branches differ in their settings")
    wide = copy.deepcopy(first)
    wide.out_channels *= len(convolutions)
    wide.weight = nn.Parameter(torch.cat([c.weight.detach() for c in convolutions]))
    if first.bias is not None:
        biases = [c.bias.detach() for c in convolutions if c.bias is not None]
        wide.bias = nn.Parameter(torch.cat(biases))
    made = _FusedBranches(wide, activations[0], len(convolutions), stack.scale)
    return made.train(stack.training)


def _not_fusable(why: str) -> BlockError:
    return BlockError(
        "The stack cannot be written as one convolution.",
        why=f"It cannot: {why}.",
        hint="ResidualStack([Sequential(Conv2d(…), ReLU()), …], mode='parallel').",
    )


@implements(23)
def truncation_error(stack: ResidualStack, x: Tensor) -> float:
    """How much the branches' joint update changes when they stand side by side.

    Zero for one branch; small where a stack can be made parallel without retraining.

    Args:
        stack: The stack, in either mode.
        x: Inputs.

    Returns:
        ``|in a row - side by side| / |in a row - x|``.

    Example:
        >>> import torch
        >>> truncation_error(ResidualStack([nn.Linear(4, 4)]), torch.randn(2, 4))
        0.0
    """
    with torch.no_grad():
        row = ResidualStack(stack.branches, scale=stack.scale).train(stack.training)(x)
        side = ResidualStack(stack.branches, mode="parallel", scale=stack.scale)
        difference = (row - side.train(stack.training)(x)).norm()
        return float(difference / (row - x).norm().clamp_min(torch.finfo(x.dtype).tiny))
