"""Reading and writing the weights of an elastic network, with the order of its indices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from supple.errors import DataError

if TYPE_CHECKING:
    from supple.elastic._elastic import Elastic

__all__ = ["load_weights", "save_weights"]


def save_weights(net: Elastic, path: Path) -> None:
    """Writes to a temporary name, syncs and renames, so that the file is whole or not there."""
    orders = {
        axis.name: order.tolist()
        for axis, order in zip(net.structure.axes, net._orders, strict=True)
        if order is not None
    }
    metadata = {
        "supple.orders": json.dumps(orders),
        "supple.blocks": json.dumps(net._block_orders),
        "supple.space": net.space.id,
    }
    tensors = {name: value.contiguous().clone() for name, value in net.original_state().items()}
    temporary = path.with_name(f".{path.name}.part")
    try:
        save_file(tensors, temporary, metadata=metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"the weights cannot be written to {path}: {error}",
            hint="free some space or choose another folder; nothing was changed.",
        ) from error


def load_weights(net: Elastic, path: Path) -> None:
    """Reads weights in the model's own order, then stores them by importance."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be read as weights: {error}",
            hint="the file is missing or was cut short; make it again, or restore a copy.",
        ) from error
    _check(net, tensors, path)
    net.restore_order()
    with torch.no_grad():
        for name, tensor in net.tensors().items():
            if name in tensors:
                tensor.copy_(tensors[name])
    orders: dict[str, Any] = json.loads(metadata.get("supple.orders", "{}"))
    net._permute(
        [
            torch.tensor(orders[axis.name]) if axis.name in orders else None
            for axis in net.structure.axes
        ]
    )
    blocks: dict[str, list[int]] = json.loads(metadata.get("supple.blocks", "{}"))
    net._block_orders.update({k: tuple(v) for k, v in blocks.items() if k in net._block_orders})
    net._build()


def _check(net: Elastic, tensors: dict[str, torch.Tensor], path: Path) -> None:
    wanted = {n: tuple(t.shape) for n, t in net.original_state().items()}
    got = {n: tuple(t.shape) for n, t in tensors.items()}
    if got == wanted:
        return
    wrong = sorted(n for n in wanted.keys() | got.keys() if wanted.get(n) != got.get(n))
    raise DataError(
        f"{path} holds the weights of another network: '{wrong[0]}' is {got.get(wrong[0])} there "
        f"and {wanted.get(wrong[0])} here ({len(wrong)} tensors differ).",
        hint="make the Elastic from the model that the file was saved from.",
    )
