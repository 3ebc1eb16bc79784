"""``.pt2``: the graph and weights as torch.export saves them; needs torch alone to run."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ShapesCollection

from supple.elastic._call import batch_size, call, has_batch, input_arguments, tensors_in
from supple.elastic._formats._format import Format, Loaded
from supple.elastic._formats._placing import write_bytes
from supple.elastic._formats._recording import recording

__all__ = ["FORMAT", "batch_shapes"]

_NOTES = "supple.json"


class Pt2(Format):
    """A torch.export archive; ``torch.export.load(path).module()`` runs it."""

    name = "pt2"

    def write(
        self,
        network: nn.Module,
        example: Any,
        path: Path,
        notes: Mapping[str, Any],
        *,
        any_batch: bool,
    ) -> None:
        """Records the network and writes the archive, the notes as its file ``supple.json``."""
        args, kwargs = input_arguments(example)
        shapes = batch_shapes(example) if any_batch else None
        with recording():
            program = torch.export.export(
                network, args, kwargs, dynamic_shapes=shapes, strict=False
            )
            # In memory first: torch's own writer reports a full disk as an unclear RuntimeError.
            buffer = io.BytesIO()
            torch.export.save(program, buffer, extra_files={_NOTES: json.dumps(notes)})
        write_bytes(path, buffer.getvalue())

    def load(self, path: Path, network: nn.Module) -> Loaded:
        """The archive's module; loading one runs no pickled code."""
        with recording():
            module = torch.export.load(path).module()
        return lambda inputs: call(module, inputs)


def batch_shapes(example: Any) -> Any:
    """Says to torch.export that the batch of every input is one open dimension."""
    size, batch = batch_size(example), Dim("batch")
    shapes: Any = ShapesCollection()  # type: ignore[no-untyped-call]
    for tensor in tensors_in(example):
        if has_batch(tensor, size):
            shapes[tensor] = {0: batch}
    return shapes


FORMAT = Pt2()
