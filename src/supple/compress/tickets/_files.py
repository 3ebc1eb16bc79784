"""One finished round of pruning in one file, so that a run that was stopped goes on after it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from supple.errors import CompressError

__all__ = ["read_round", "write_round"]

_FORMAT = "supple tickets 1"


def write_round(path: Path, parts: Mapping[str, Mapping[str, Tensor]], about: Any) -> None:
    """Write named groups of tensors and JSON data, whole or not at all."""
    tensors = {
        f"{part}/{name}": tensor.detach().contiguous()
        for part, group in parts.items()
        for name, tensor in group.items()
    }
    text = json.dumps({"format": _FORMAT, "about": about})
    data = save(tensors, metadata={"supple": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_round(path: Path) -> tuple[dict[str, dict[str, Tensor]], Any]:
    """What `write_round` wrote.

    Raises:
        CompressError: The file is damaged or something else.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["supple"])
            if about["format"] != _FORMAT:
                raise KeyError(about["format"])
            for key in file.keys():  # noqa: SIM118
                part, _, name = key.partition("/")
                parts.setdefault(part, {})[name] = file.get_tensor(key)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CompressError(
            f"'{path}' is no round of a ticket search, or damaged.", hint="another folder"
        ) from error
    return parts, about["about"]
