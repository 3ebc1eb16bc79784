"""One call of ``torch.export``: quiet, and without work whose result nobody reads.

The exporter writes Python code for each of its intermediate graphs and notes with every call the
whole stack, mostly its own lines, and what its tensors are like in two ways. None of this changes
the graph; without it the same graph takes a quarter to a third less time.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import ModuleType
from typing import Any

import torch
from torch import fx
from torch.fx._lazy_graph_module import _LazyGraphModule, _use_lazy_graph_module
from torch.fx.experimental import proxy_tensor
from torch.fx.passes.shape_prop import _extract_tensor_metadata
from torch.utils._traceback import CapturedTraceback

__all__ = ["exporting", "finish_code"]

_TORCH = os.path.dirname(torch.__file__) + os.sep


@contextmanager
def exporting() -> Iterator[None]:
    """Inside, ``torch.export`` writes no code and little of the stack, and says nothing.

    Attention goes layer by layer instead of in one fused call.
    """
    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _silence(), _spared(), _use_lazy_graph_module(True):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)


@contextmanager
def _silence() -> Iterator[None]:
    """No talk about torch's inside."""
    names = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")
    loggers = [logging.getLogger(name) for name in names]
    levels = [x.level for x in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        # When it fails, the exporter prints the whole graph it had so far.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.filterwarnings("ignore", message=".*_flat_weights.* assigned during export")
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _ShortStack:
    """Stands for the tracebacks that the exporter takes at every call: without torch's own frames.

    A frame of torch that is called ``forward`` stays, since the exporter looks from there on.
    """

    @staticmethod
    def extract(**_: Any) -> _ShortStack:
        """The stack of the caller."""
        return _ShortStack()

    def summary(self) -> traceback.StackSummary:
        """Its frames, the outermost first."""
        found = []
        frame = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if code.co_name == "forward" or not code.co_filename.startswith(_TORCH):
                found.append(traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name))
            frame = frame.f_back  # type: ignore[assignment]
        return traceback.StackSummary.from_list(found[::-1])


def _no_metadata(*_: Any, **__: Any) -> None:
    """Stands for a summary of every tensor; all of it is in the tensor, which the node has."""


# Where torch looks these up, what is there, and what takes its place.
_SPARED: tuple[tuple[ModuleType, str, Any, Any], ...] = (
    (fx.proxy, "CapturedTraceback", CapturedTraceback, _ShortStack),
    (proxy_tensor, "_extract_tensor_metadata", _extract_tensor_metadata, _no_metadata),
)


@contextmanager
def _spared() -> Iterator[None]:
    for place, name, _, stand_in in _SPARED:
        setattr(place, name, stand_in)
    try:
        yield
    finally:
        for place, name, original, _ in _SPARED:
            setattr(place, name, original)


def finish_code(module: fx.GraphModule) -> None:
    """Writes the code of the graphs that operators of this one call, as ``torch.cond`` does."""
    for part in module.modules():
        if part is not module and isinstance(part, _LazyGraphModule):
            part.real_recompile()
