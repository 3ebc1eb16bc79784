"""A small network around a block, so that what feeds it and what it feeds may vary."""

from __future__ import annotations

from torch import Tensor, nn

from supple.testing._block_case import BlockCase
from supple.testing._calls import fail, inputs_of, outputs_of, run

__all__ = ["surrounded"]

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class _Surrounded(nn.Module):
    """A linear map of the channels, the block, and another linear map."""

    def __init__(self, before: nn.Module, block: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.block = block
        self.after = after

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        result: Tensor = self.after(self.block(self.before(x), *others))
        return result


def surrounded(case: BlockCase, block: nn.Module) -> nn.Module:
    """The network of the case, or linear maps of ``channel_dim`` around the block."""
    if case.surround is not None:
        return case.surround(block)
    x = inputs_of(case.example)[0]
    y = outputs_of(run(block, case.example))[0]
    return _Surrounded(
        _linear_map(x, case.channel_dim, x.shape[case.channel_dim]),
        block,
        _linear_map(y, case.channel_dim, 3),
    )


def _linear_map(x: Tensor, dim: int, out: int) -> nn.Module:
    size = x.shape[dim]
    if dim % x.dim() == x.dim() - 1:
        return nn.Linear(size, out)
    if dim == 1 and x.dim() - 2 in _CONVOLUTIONS:
        return _CONVOLUTIONS[x.dim() - 2](size, out, 1)
    raise fail(
        f"No default network fits around a block with channels in dimension {dim} of {x.dim()}.",
        hint="give surround= in the case.",
    )
