"""Writing a network to a file that is known to be that network.

An export is not done when a file is there: it is read back, run on batches of several sizes and
compared with the network; only then does it get its name.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

from supple.elastic._call import batch_of, batch_size, call, evaluating, tensors_in
from supple.elastic._formats import Format, format_of
from supple.elastic._formats._compare import largest_difference
from supple.elastic._formats._format import Loaded
from supple.elastic._formats._placing import placing
from supple.elastic._formats._safetensors import Weights, read_weights
from supple.errors import ExampleError, ExportError, SuppleError

__all__ = ["ExportReport", "Weights", "export", "read_weights"]

SEEDS = (11, 12)
"""Two draws of inputs per batch size, so that a value recorded as a constant shows."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written and how it was checked.

    Attributes:
        path: The file.
        format: ``"pt2"``, ``"onnx"`` or ``"safetensors"``.
        files: All files written, ``path`` first.
        file_bytes: Bytes of ``path`` alone.
        batches: The batch sizes on which the file was compared with the network.
        any_batch: Whether the file takes other batch sizes than the example's.
        largest_difference: Largest difference found, relative to the output's largest magnitude
            where that is above 1.
        notes: What a user should know, one sentence each.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    file_bytes: int
    batches: tuple[int, ...]
    any_batch: bool
    largest_difference: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.path} ({self.file_bytes:,} bytes) equals the network to "
            f"{self.largest_difference:.1e} at batch {', '.join(map(str, self.batches))}.",
            *self.notes,
        ]
        return "\n  ".join(lines)


def export(
    network: nn.Module,
    path: str | Path,
    example: Any,
    *,
    config: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    check_batches: Iterable[int] = (1, 2, 5),
    atol: float = 1e-4,
) -> ExportReport:
    """Exports ``network`` in eval mode, reads the file back and compares.

    The suffix names the format: ``.pt2`` and ``.onnx`` hold graph and weights and take any batch
    size where the network does; ``.safetensors`` holds the weights, with a ``.json`` beside it.

    Args:
        network: A plain module, as ``net.extract(config)`` returns.
        path: Where to write; missing folders are made, an older file is replaced at the end.
        example: Inputs: a tensor, a tuple of arguments or a dict of keyword arguments.
        config: The config the network was extracted at; stored with it.
        metadata: Anything JSON-able that tells where the network is from; stored with it.
        check_batches: Batch sizes to compare at.
        atol: Largest difference accepted, relative to the output's largest magnitude where that
            is above 1.

    Raises:
        ExportError: Unknown suffix, a network that cannot be recorded, a full disk, or a file
            that is not the network. No file is left then.
        MissingExtraError: ONNX was asked for and is not installed.
    """
    path = Path(path)
    form = format_of(path)
    form.require()
    stored = _stored(network, example, config, metadata)
    sizes = tuple(check_batches)
    if any(size < 1 for size in sizes):
        raise ExportError(f"Batch sizes {sizes} to check hold one below 1.", sizes=sizes)
    with evaluating(network):
        batches = _Batches(network, example, sizes)
        with placing(path) as temporary:
            job = _Job(network, form, temporary, stored, batches, atol)
            report = job.run(path)
    return report


class _Batches:
    """The inputs to compare on, and what the network itself gives for them."""

    def __init__(self, network: nn.Module, example: Any, sizes: tuple[int, ...]) -> None:
        self.example = example
        self.own = batch_size(example)
        try:
            call(network, example)
        except Exception as error:
            raise ExampleError(
                f"The network does not run on the example: {error}",
                hint="pass the inputs as a tuple of arguments or a dict of keyword arguments",
            ) from error
        self.refused: dict[int, str] = {}
        self.expected: dict[int, list[tuple[Any, Any]]] = {}
        for size in dict.fromkeys((self.own, *sizes)):
            try:
                self.expected[size] = self._pairs(network, size)
            except Exception as error:
                # Not every network takes every batch; its own text says why.
                self.refused[size] = _first_line(error)
        if self.own not in self.expected:
            # Drawn values do not suit this network: compare on the example alone.
            self.expected[self.own] = [(example, call(network, example))]

    def _pairs(self, network: nn.Module, size: int) -> list[tuple[Any, Any]]:
        drawn = [batch_of(self.example, size, seed=seed) for seed in SEEDS]
        inputs = [self.example, *drawn] if size == self.own else drawn
        return [(one, call(network, one)) for one in inputs]

    @property
    def recording(self) -> Any:
        """The example at a size that a recorder does not take for a constant, as it does 1."""
        if self.own > 1:
            return self.example
        other = next((size for size in sorted(self.expected) if size > 1), None)
        return self.example if other is None else self.expected[other][0][0]

    @property
    def vary(self) -> bool:
        """Whether the network takes more than the example's batch size."""
        return len(self.expected) > 1 and bool(tensors_in(self.example))


@dataclass
class _Job:
    """One export: tries an open batch first, then the example's own."""

    network: nn.Module
    form: Format
    temporary: Path
    stored: Mapping[str, Any]
    batches: _Batches
    atol: float

    def run(self, path: Path) -> ExportReport:
        notes = [
            f"The network itself does not take batch {size}: {why}"
            for size, why in self.batches.refused.items()
        ]
        any_batch, checked, worst = self._written(notes)
        files = sorted(self.temporary.parent.iterdir(), key=lambda p: p.name != path.name)
        return ExportReport(
            path=path,
            format=self.form.name,
            files=tuple(path.parent / file.name for file in files),
            file_bytes=self.temporary.stat().st_size,
            batches=checked,
            any_batch=any_batch,
            largest_difference=worst,
            notes=tuple(notes),
        )

    def _written(self, notes: list[str]) -> tuple[bool, tuple[int, ...], float]:
        if not self.form.holds_graph:
            self.form.write(
                self.network, self.batches.example, self.temporary, self.stored, any_batch=True
            )
            return self.batches.vary, *self._compared(self._loaded(), [*self.batches.expected])
        if self.batches.vary:
            try:
                self._record(self.batches.recording, any_batch=True)
                loaded = self._loaded()
                self._probe(loaded)
            except SuppleError:
                raise
            except Exception as error:
                notes.append(
                    f"The file takes batch {self.batches.own} only; the graph is bound to it: "
                    f"{_first_line(error)}"
                )
            else:
                return True, *self._compared(loaded, sorted(self.batches.expected))
        self._record_or_explain()
        return False, *self._compared(self._loaded(), [self.batches.own])

    def _record(self, example: Any, *, any_batch: bool) -> None:
        self.form.write(self.network, example, self.temporary, self.stored, any_batch=any_batch)

    def _record_or_explain(self) -> None:
        try:
            self._record(self.batches.example, any_batch=False)
        except SuppleError:
            raise
        except Exception as error:
            raise ExportError(
                f"The network cannot be recorded for '{self.temporary.name}': {_first_line(error)}",
                why=_where(error),
                hint="replace that step by tensor operations, or export to .safetensors, which "
                "needs no recording",
                path=str(self.temporary.name),
            ) from error

    def _loaded(self) -> Loaded:
        try:
            return self.form.load(self.temporary, self.network)
        except SuppleError:
            raise
        except Exception as error:
            raise ExportError(
                f"'{self.temporary.name}' was written but cannot be read back: "
                f"{_first_line(error)}",
                hint="this is a defect of the exporter; try another format",
                path=self.temporary.name,
            ) from error

    def _probe(self, loaded: Loaded) -> None:
        """Raises where the file refuses a batch size that the network takes."""
        for pairs in self.batches.expected.values():
            loaded(pairs[0][0])

    def _compared(self, loaded: Loaded, sizes: list[int]) -> tuple[tuple[int, ...], float]:
        """The sizes and the largest difference, or ExportError where it is too large."""
        worst = 0.0
        for size in sizes:
            for inputs, expected in self.batches.expected[size]:
                found = largest_difference(loaded(inputs), expected)
                if not found.size <= self.atol:
                    raise ExportError(
                        f"'{self.temporary.name}' is not the network: it differs by "
                        f"{found.size:.3g} at batch {size}, more than {self.atol:g}.",
                        why=f"The largest difference is in {found.where}.",
                        hint="check that the network draws no random numbers in eval mode, or "
                        "raise atol if that difference is fine for you",
                        difference=found.size,
                        batch=size,
                        path=self.temporary.name,
                    )
                worst = max(worst, found.size)
        return tuple(sizes), worst


def _stored(
    network: Any,
    example: Any,
    config: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What every format stores beside the weights, checked to be JSON."""
    if not isinstance(network, nn.Module):
        raise ExportError(
            f"A {type(network).__name__} cannot be exported, only an nn.Module.",
            hint="net.extract(config), which returns a plain module",
        )
    try:
        supple = version("supple")
    except PackageNotFoundError:
        supple = None
    stored = {
        "schema": 1,
        "supple": supple,
        "network": f"{type(network).__module__}.{type(network).__qualname__}",
        "parameters": sum(tensor.numel() for tensor in network.parameters()),
        "inputs": [
            {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": [*tensor.shape]}
            for tensor in tensors_in(example)
        ],
        "config": None if config is None else dict(config),
        "metadata": dict(metadata or {}),
    }
    try:
        json.dumps(stored, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"The config or metadata to store is not JSON: {error}.",
            hint="use strings, finite numbers, lists and dicts",
        ) from None
    return stored


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text or type(error).__name__


def _where(error: BaseException) -> str:
    """The last line of the user's own code that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    while error.__cause__ is not None:
        error = error.__cause__
        frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parent.parent)
    for frame in reversed(frames):
        library = "site-packages" in frame.filename or frame.filename.startswith((ours, "<"))
        if not library:
            return f"It stops at {frame.filename}:{frame.lineno}: {frame.line}"
    return f"The recorder says: {type(error).__name__}."
