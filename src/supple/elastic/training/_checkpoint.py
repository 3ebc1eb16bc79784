"""The state of a training run in one file, written whole or not at all.

The file is safetensors: the network's and the optimiser's tensors under ``net/…`` and
``optimizer/…``, the losses so far, and in its header one JSON object with the rest. It is written
to a temporary name, synced and renamed, so a reader finds the old state or the new one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from supple.errors import TrainingError

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]

_FORMAT = "supple training checkpoint 1"


@dataclass(kw_only=True)
class Progress:
    """How far a run is: what a checkpoint holds besides weights and optimiser.

    Attributes:
        step: Optimiser steps done.
        epoch: Epoch of the next batch.
        batch: Number of the next batch in its epoch.
        losses: The loss of each step done.
        seconds: Time spent, over all sittings.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    losses: list[float]
    seconds: float = 0.0


def save_checkpoint(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    run: dict[str, Any],
) -> None:
    """Write the state of the run described by ``run`` (JSON data) to ``path``.

    Raises:
        TrainingError: It cannot be written; what was there before is still there.
    """
    tensors = {f"net/{name}": _plain(t, name) for name, t in net.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            key = f"optimizer/{index}/{name}"
            if isinstance(value, Tensor):
                tensors[key] = _plain(value, key)
            else:
                numbers[key] = value
    tensors["losses"] = torch.tensor(progress.losses, dtype=torch.float64)
    about = {
        "format": _FORMAT,
        "run": run,
        "optimizer": numbers,
        "step": progress.step,
        "epoch": progress.epoch,
        "batch": progress.batch,
        "seconds": progress.seconds,
    }
    _write(path, save(tensors, metadata={"supple": json.dumps(about)}))


def load_checkpoint(
    path: Path, net: nn.Module, optimizer: torch.optim.Optimizer, run: dict[str, Any]
) -> Progress:
    """Put the state in ``path`` into ``net`` and ``optimizer``; where the run stands.

    Raises:
        TrainingError: The file is damaged, or of another run than ``run`` describes.
    """
    about, tensors = _read(path)
    _check_same_run(path, about["run"], run)
    net.load_state_dict(
        {name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net/")}
    )
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *about["optimizer"].items()):
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return Progress(
        step=about["step"],
        epoch=about["epoch"],
        batch=about["batch"],
        seconds=about["seconds"],
        losses=tensors["losses"].tolist(),
    )


def _plain(tensor: Any, name: str) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TrainingError(
            f"The network's state '{name}' is a {type(tensor).__name__}, not a tensor.",
            why="Checkpoints hold tensors and JSON only, so that reading one runs no code.",
            hint="train without checkpoint=, or keep this state in a buffer",
        )
    # A copy: tied weights share memory, which the format refuses.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrainingError(
            f"The checkpoint '{path}' cannot be written: {error.strerror or error}.",
            why=f"It takes {len(content):,} bytes. An older checkpoint, if any, is as it was.",
            hint="make room or choose another place, and repeat the command to go on",
            path=str(path),
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})["supple"])
            if about["format"] != _FORMAT:
                raise ValueError(about["format"])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise TrainingError(
            f"The checkpoint '{path}' cannot be read: {error}.",
            why="It is truncated, damaged, or no checkpoint of supple.",
            hint="delete it to train from the start, or put an intact copy in its place",
            path=str(path),
        ) from error


def _check_same_run(path: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    asked = json.loads(json.dumps(asked))
    differing = sorted(
        key for key in asked.keys() | found.keys() if asked.get(key) != found.get(key)
    )
    if not differing:
        return
    key = differing[0]
    raise TrainingError(
        f"The checkpoint '{path}' is of another run: {', '.join(differing)} differ.",
        why=f"Its {key} is {_short(found.get(key))}, this run's is {_short(asked.get(key))}.",
        hint="give this run a path of its own, delete the checkpoint, or repeat the old settings",
        path=str(path),
        differing=differing,
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:199] + "…"
