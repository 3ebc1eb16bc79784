"""How the checks build, call and compare a block; nothing they do is left behind."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from supple.elastic._call import Network, batch_of, input_arguments
from supple.errors import CheckError
from supple.testing._block_case import BlockCase

__all__ = [
    "build",
    "compare",
    "doubled",
    "doubled_example",
    "fail",
    "inputs_of",
    "other_batch",
    "outputs_of",
    "rows",
    "run",
]


def fail(message: str, *, why: str = "", hint: str = "", **data: Any) -> CheckError:
    """The error of a check that does not hold."""
    return CheckError(message, why=why, hint=hint, **data)


def build(case: BlockCase, *, seed: int = 0, training: bool = False) -> nn.Module:
    """The block, with weights drawn from a seed; torch's random state is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return case.make().train(training)


def doubled(module: nn.Module) -> nn.Module:
    """A copy in float64."""
    return copy.deepcopy(module).double()


def doubled_example(example: Any) -> Any:
    """Floating tensors in float64, the rest as it is."""
    return pytree.tree_map(
        lambda v: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v, example
    )


def run(module: Network, example: Any, *, seed: int = 1) -> Any:
    """One call without gradients; random numbers are drawn from a seed."""
    args, kwargs = input_arguments(example)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        return module(*args, **kwargs)


def inputs_of(example: Any) -> list[Tensor]:
    """The tensors of an example, in order."""
    return [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]


def outputs_of(output: Any) -> list[Tensor]:
    """The tensors of an output, in order."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def rows(example: Any, size: int, picked: Any) -> Any:
    """The example with some samples only: every tensor that is ``size`` long is indexed."""
    return pytree.tree_map(
        lambda v: v[picked] if isinstance(v, Tensor) and v.dim() and len(v) == size else v, example
    )


def other_batch(case: BlockCase, size: int) -> Any:
    """Inputs like the example's with another batch size."""
    return batch_of(case.example, size, seed=size)


def compare(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Both outputs have the same tensors, equal up to a tolerance relative to their scale."""
    a, b = outputs_of(got), outputs_of(want)
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (a, b)]
    if shapes[0] != shapes[1]:
        raise fail(f"{what}: shapes {shapes[0]} and {shapes[1]} differ.")
    for x, y in zip(a, b, strict=True):
        gap = _gap(x.detach(), y.detach())
        if not gap <= tolerance:  # nan included
            raise fail(f"{what}: outputs differ by {gap:.3g} of their scale.", gap=gap)


def _gap(x: Tensor, y: Tensor) -> float:
    if torch.equal(x, y) or not y.numel():
        return 0.0
    if not y.is_floating_point() or not x.is_floating_point():
        return float("inf")
    scale = max(y.abs().max().item(), 1e-30)
    return (x.double() - y.double()).abs().max().item() / scale
