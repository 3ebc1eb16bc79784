"""How sparse a network is, layer by layer: weights, operations, bytes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from supple.compress.mask import mask_parts, masked_weights, prunable
from supple.elastic._call import batch_size, call, evaluating
from supple.papers import implements

__all__ = ["LayerSparsity", "SparsityReport", "sparsity_report"]


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """One weight.

    Attributes:
        name: Its name.
        shape: Its shape.
        kept: Weights that are not zero, or that the mask keeps.
        uses: How often each weight is multiplied for one sample (positions of a kernel, steps of a
            sequence); None where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    uses: float | None = None

    @property
    def size(self) -> int:
        """All its weights."""
        size = 1
        for side in self.shape:
            size *= side
        return size

    @property
    def density(self) -> float:
        """Share of its weights that are kept."""
        return self.kept / self.size


@dataclass(frozen=True, kw_only=True)
class SparsityReport:
    """The layers, and what they add up to.

    Attributes:
        layers: One row for each weight that can be masked.
        other: Parameters that are never masked: biases, norms, embeddings.
        explored: Share of the weights that were kept at some time; None without masks.
        notes: What a reader should know.
    """

    layers: tuple[LayerSparsity, ...]
    other: int
    explored: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """All weights of the layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def kept(self) -> int:
        """Weights of the layers that are kept."""
        return sum(layer.kept for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Everything that has to be stored as a number: kept weights and all other parameters."""
        return self.kept + self.other

    @property
    def density(self) -> float:
        """Share of the layers' weights that are kept."""
        return self.kept / self.size

    @property
    def macs(self) -> float | None:
        """Multiplications with kept weights for one sample; None where a layer's are not known."""
        return self._operations(kept=True)

    @property
    def dense_macs(self) -> float | None:
        """The same, if all weights were kept."""
        return self._operations(kept=False)

    def _operations(self, *, kept: bool) -> float | None:
        if any(layer.uses is None for layer in self.layers):
            return None
        return sum((x.kept if kept else x.size) * (x.uses or 0.0) for x in self.layers)

    def storage_bytes(self, *, bytes_per_number: int = 4) -> dict[str, int]:
        """Bytes of the layers' weights in three forms.

        ``dense``: all numbers. ``bitmask``: the kept ones and a bit for every weight. ``csr``: the
        kept ones, their columns (2 bytes where a row has at most 65,536) and where each row
        starts (4 bytes). Other parameters are not in it.
        """
        bits = sum(-(-layer.size // 8) for layer in self.layers)
        csr = 0
        for layer in self.layers:
            columns = layer.size // layer.shape[0]
            csr += layer.kept * (bytes_per_number + (2 if columns <= 65_536 else 4))
            csr += 4 * (layer.shape[0] + 1)
        return {
            "dense": self.size * bytes_per_number,
            "bitmask": self.kept * bytes_per_number + bits,
            "csr": csr,
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """One dict for each layer, for a table."""
        return [
            {
                "name": layer.name,
                "shape": layer.shape,
                "kept": layer.kept,
                "density": layer.density,
                "macs": None if layer.uses is None else layer.kept * layer.uses,
            }
            for layer in self.layers
        ]

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self.layers)
        lines = [
            f"{layer.name:<{width}}  {layer.kept:>10,} of {layer.size:>10,}  {layer.density:7.2%}"
            for layer in self.layers
        ]
        lines.append(f"{'all':<{width}}  {self.kept:>10,} of {self.size:>10,}  {self.density:7.2%}")
        return "\n".join([*lines, *self.notes])


@implements(116)
def sparsity_report(
    model: nn.Module, example: Any = None, *, protect: tuple[str, ...] = ()
) -> SparsityReport:
    """What of a network's weights is left.

    Args:
        model: Any module; where it has masks they count, elsewhere what is not zero does.
        example: Inputs of one call, to count operations; by default they are not counted.
        protect: Patterns of weights that are left out of the report.

    Example:
        >>> from supple.compress.report import sparsity_report
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Linear(4, 2)
        >>> _ = model.weight.data[0].zero_()
        >>> report = sparsity_report(model, torch.ones(1, 4))
        >>> report.density, report.macs, report.parameters
        (0.5, 4.0, 6)
    """
    stored = prunable(model, protect=protect)
    seen = masked_weights(model, protect=protect)
    parts = mask_parts(model)
    uses = {} if example is None else _uses(model, example)
    layers = []
    for name, weight in stored.items():
        kept = parts[name].mask if name in parts else seen[name] != 0
        layers.append(
            LayerSparsity(
                name=name, shape=tuple(weight.shape), kept=int(kept.sum()), uses=uses.get(name)
            )
        )
    masked = [part for name, part in parts.items() if name in stored]
    explored = None
    if masked:
        explored = sum(int(p.seen.sum()) for p in masked) / sum(p.seen.numel() for p in masked)
    return SparsityReport(
        layers=tuple(layers),
        other=_other(model, stored),
        explored=explored,
        notes=_notes(layers),
    )


def _other(model: nn.Module, stored: Mapping[str, Tensor]) -> int:
    known = {id(weight) for weight in stored.values()}
    scores = {id(p) for part in mask_parts(model).values() for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in known | scores)


def _notes(layers: list[LayerSparsity]) -> tuple[str, ...]:
    return tuple(
        f"'{layer.name}' has one weight left: a layer is never emptied."
        for layer in layers
        if layer.kept == 1 < layer.size
    )


def _uses(model: nn.Module, example: Any) -> dict[str, float]:
    """How often a sample multiplies each weight, by layers that are linear in it."""
    found: dict[str, float] = {}
    twin = copy.deepcopy(model)
    size = batch_size(example)
    with _watching(twin, found, size), evaluating(twin):
        call(twin, example)
    return found


@contextmanager
def _watching(model: nn.Module, found: dict[str, float], size: int) -> Iterator[None]:
    handles = []
    for name, module in model.named_modules():

        def note(layer: nn.Module, args: Any, output: Any, name: str = name) -> None:
            for leaf, count in _positions(layer, args, output).items():
                key = f"{name}.{leaf}".lstrip(".")
                found[key] = found.get(key, 0.0) + count / size

        handles.append(module.register_forward_hook(note))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _positions(layer: nn.Module, args: Any, output: Any) -> dict[str, float]:
    if isinstance(layer, nn.Linear):
        return {"weight": output.numel() / layer.out_features}
    if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return {"weight": args[0].numel() / layer.in_channels}
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return {"weight": output.numel() / layer.out_channels}
    if isinstance(layer, nn.RNNBase):
        steps = output[0].shape[0] * output[0].shape[1]
        return {leaf: float(steps) for leaf in layer._flat_weights_names if "weight" in leaf}
    return {}
