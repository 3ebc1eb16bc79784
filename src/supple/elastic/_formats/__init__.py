"""The files an export can write, one module per format; the suffix names the module."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from supple.elastic._formats._format import Format
from supple.errors import ExportError, near_misses

__all__ = ["Format", "format_of"]

_MODULES = {".onnx": "_onnx", ".pt2": "_pt2", ".safetensors": "_safetensors"}


def format_of(path: Path) -> Format:
    """The format that a file name asks for."""
    module = _MODULES.get(path.suffix.lower())
    if module is None:
        raise ExportError(
            f"'{path.name}' asks for the format '{path.suffix or path.name}', which is unknown.",
            why="The suffix of the file says which format to write: " + ", ".join(_MODULES),
            hint=near_misses(path.suffix.lower(), _MODULES),
            path=str(path),
            known=tuple(_MODULES),
        )
    found = import_module(f"{__name__}.{module}").FORMAT
    assert isinstance(found, Format)
    return found
