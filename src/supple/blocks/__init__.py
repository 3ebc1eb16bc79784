"""Blocks: layers, activations, normalisations and heads as ordinary ``torch.nn`` modules.

Every public file of this folder is one paper's blocks, named as the literature names it; what it
lists in ``__all__`` is reached as ``supple.blocks.Name``. A file is read when one of its names is
first used, so that importing the room imports no torch.

What all of them keep to, checked by `supple.testing.check_block`:

- sizes by keyword, ``in_features``/``out_features`` or ``in_channels``/``out_channels``;
- any batch size, float32 and float64, the input's dtype and device kept;
- ``reset_parameters``, which draws from torch's own random numbers as ``torch.nn`` layers do;
- ``torch.export``, and elastic wherever the structure allows;
- a `BlockError` that names the shape for inputs that do not fit.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


@cache
def _homes() -> dict[str, str]:
    """The module that offers each public name; found by reading, not by importing."""
    homes: dict[str, str] = {}
    for path in sorted([*_FOLDER.glob("[!_]*.py"), *_FOLDER.glob("[!_]*/__init__.py")]):
        module = path.parent.name if path.name == "__init__.py" else path.stem
        for name in _public_names(path):
            if name in homes:
                raise AssertionError(f"{name} is offered by {homes[name]} and {module}")
            homes[name] = module
    return homes


def _public_names(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def __getattr__(name: str) -> Any:
    if name in _homes():
        return getattr(importlib.import_module(f"{__name__}.{_homes()[name]}"), name)
    if not name.startswith("_") and name in _homes().values():
        return importlib.import_module(f"{__name__}.{name}")
    raise _unknown(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_homes().values()})


def _unknown(name: str) -> AttributeError:
    from supple.errors import near_misses

    hint = "" if name.startswith("_") else f"; {near_misses(name, _homes())}"
    return AttributeError(f"module 'supple.blocks' has no attribute {name!r}{hint}", name=name)


__all__ = sorted(_homes())
