"""What surrounds every recording of a network by torch.export or torch.onnx."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["plain_attention", "recording"]

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@contextmanager
def recording() -> Iterator[None]:
    """Plain attention and silence: the recorders' warnings are about torch's inside."""
    with ExitStack() as stack:
        stack.enter_context(plain_attention())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        _silence_graph_dump(stack)
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switches off torch's fused transformer layers and restores them.

    They hide a whole layer in one operator, which is neither counted nor known to ONNX; the
    plain layers they stand for compute the same.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _silence_graph_dump(stack: ExitStack) -> None:
    """Torch 2.13 prints the whole graph when its older recorder fails, verbose or not."""
    name = "_jit_onnx_log"
    dump = getattr(torch._C, name, None)
    if dump is not None:
        setattr(torch._C, name, lambda *args: None)
        stack.callback(setattr, torch._C, name, dump)
