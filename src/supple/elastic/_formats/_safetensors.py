"""``.safetensors``: the weights, and beside them a ``.json`` that says what they belong to.

A tensor that the network holds under several names is stored once; the header keeps the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from supple.elastic._call import input_arguments
from supple.elastic._formats._format import Format, Loaded
from supple.elastic._formats._placing import write_bytes
from supple.errors import ExportError

__all__ = ["FORMAT", "Weights", "read_weights", "weights_bytes"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A weights file read back.

    Attributes:
        state: Every name of the network's state dict, for ``load_state_dict``.
        sidecar: What the ``.json`` beside the file holds; empty where there is none.
    """

    state: Mapping[str, Tensor]
    sidecar: Mapping[str, Any]


class Safetensors(Format):
    """Weights and buffers, no graph: rebuild the network in Python and load them into it."""

    name = "safetensors"
    holds_graph = False

    def write(
        self,
        network: nn.Module,
        example: Any,
        path: Path,
        notes: Mapping[str, Any],
        *,
        any_batch: bool,
    ) -> None:
        """Writes the weights and the sidecar, which holds their checksum."""
        data = weights_bytes(network)
        sidecar = {
            **notes,
            "weights": path.name,
            "weights_bytes": len(data),
            "weights_sha256": hashlib.sha256(data).hexdigest(),
            "tensors": {
                name: {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": [*tensor.shape]}
                for name, tensor in _state(network).items()
            },
        }
        write_bytes(path, data)
        text = json.dumps(sidecar, indent=2, ensure_ascii=False)
        write_bytes(path.with_suffix(".json"), text.encode())

    def load(self, path: Path, network: nn.Module) -> Loaded:
        """The network's Python with every parameter and stored buffer replaced by the file's."""
        state = dict(read_weights(path).state)
        missing = sorted(set(network.state_dict()) - set(state))
        assert not missing, missing

        def run(inputs: Any) -> Any:
            args, kwargs = input_arguments(inputs)
            return functional_call(network, state, args, kwargs)

        return run


def weights_bytes(network: nn.Module) -> bytes:
    """The whole ``.safetensors`` file of a network's state dict."""
    from safetensors.torch import save

    state, shared = _state(network), {}
    kept: dict[tuple[Any, ...], str] = {}
    unique = {}
    for name, tensor in state.items():
        first = kept.setdefault(_place(tensor, name), name)
        if first == name:
            # A copy, as two views of one storage would be refused.
            unique[name] = tensor.detach().cpu().clone().contiguous()
        else:
            shared[name] = first
    header = {"format": "pt"} | ({"shared": json.dumps(shared)} if shared else {})
    return save(unique, metadata=header)


def _state(network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise ExportError(
            f"The network's state '{odd[0]}' is a {type(state[odd[0]]).__name__}, not a tensor.",
            why="A safetensors file holds tensors only; extra state would have to be pickled.",
            hint="export to .pt2 or .onnx, or keep that state in a buffer",
        )
    return state


def _place(tensor: Tensor, name: str) -> tuple[Any, ...]:
    """Equal for two names of the same memory; an empty tensor is only itself."""
    if not tensor.numel():
        return (name,)
    return (
        tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
    )  # fmt: skip


def read_weights(path: str | Path) -> Weights:
    """Reads a ``.safetensors`` file and its sidecar, checking one against the other.

    Raises:
        ExportError: The file is missing, truncated, damaged, or not the one of its sidecar.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    sidecar = _sidecar(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            shared = json.loads((file.metadata() or {}).get("shared", "{}"))
        state |= {alias: state[first] for alias, first in shared.items()}
    except FileNotFoundError:
        raise ExportError(f"There is no weights file '{path}'.", path=str(path)) from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, sidecar, f"It cannot be read: {error}.") from error
    _check(path, sidecar)
    return Weights(state=state, sidecar=sidecar)


def _sidecar(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    if not beside.exists():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"'{beside.name}' is not readable JSON: {error}.") from error
    return found if isinstance(found, dict) and found.get("weights") == path.name else {}


def _check(path: Path, sidecar: Mapping[str, Any]) -> None:
    expected = sidecar.get("weights_sha256")
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise _damaged(path, sidecar, f"Its checksum is not the one in '{path.stem}.json'.")


def _damaged(path: Path, sidecar: Mapping[str, Any], why: str) -> ExportError:
    size = path.stat().st_size if path.is_file() else 0
    expected = sidecar.get("weights_bytes")
    of = f" of {expected}" if expected not in (None, size) else ""
    return ExportError(
        f"The weights file '{path}' is damaged: {size}{of} bytes are there.",
        why=why,
        hint="export the network again, or copy the file once more",
        path=str(path),
    )


FORMAT = Safetensors()
