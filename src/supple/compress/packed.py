"""ONNX files in which sparse and low-bit weights take the space they need, not that of floats.

Each weight is stored in the smallest of these forms that gives it back bit for bit: as it is; whole
numbers of 2, 4 or 8 bits with one scale per output channel; a bit mask and the values that are not
zero; or both. Ordinary ONNX operators unpack it, and ONNX Runtime does that once, while it loads:
a file is smaller, and runs as fast as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from supple.elastic._formats._onnx import require_onnx

__all__ = ["PackedOnnx", "pack_onnx"]

Array = np.ndarray
LEAST_VALUES = 256  # in smaller weights the nodes that unpack take more than they save


@dataclass(frozen=True, kw_only=True)
class PackedOnnx:
    """A packed model.

    Attributes:
        model: The bytes of the file.
        forms: How each weight that was changed is stored, by its name in the file.
    """

    model: bytes
    forms: dict[str, str]


def pack_onnx(model: bytes) -> PackedOnnx:
    """The same model, each of its weights in the smallest form that is exactly it.

    Args:
        model: The bytes of an ONNX file with its weights inside.

    Raises:
        MissingExtraError: ONNX is not installed.

    Example:
        >>> import torch
        >>> from supple.compress.packed import pack_onnx
        >>> from supple.compress.quantize import bake_, quantize_, Uniform
        >>> from supple.compress.quantize.onnx_graph import record
        >>> network = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.Linear(256, 2))
        >>> _ = quantize_(network, weight=Uniform(bits=4))
        >>> whole = record(bake_(network).eval(), (torch.ones(1, 64),)).model
        >>> packed = pack_onnx(whole)
        >>> sorted(set(packed.forms.values())), len(packed.model) < len(whole) / 4
        (['4 bits'], True)
    """
    require_onnx("Packing an ONNX file")
    import onnx
    from onnx import numpy_helper

    loaded = onnx.load_model_from_string(model)
    graph, forms = loaded.graph, {}
    writer = _Writer(graph)
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        if value.size < LEAST_VALUES:
            continue
        stored = _smallest(value)
        if stored is not None:
            writer.replace(tensor, stored)
            forms[tensor.name] = stored.form
    writer.finish()
    return PackedOnnx(model=loaded.SerializeToString() if forms else model, forms=forms)


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """One weight as it will be stored: ``codes * scale``, the codes dense or where not zero."""

    shape: tuple[int, ...]
    codes: Array
    bits: int  # 32: the codes are the floats themselves
    scale: Array | None
    is_sparse: bool

    @property
    def bytes(self) -> float:
        """About how many bytes it takes."""
        values = np.count_nonzero(self.codes) if self.is_sparse else self.codes.size
        scales = 0 if self.scale is None else self.scale.nbytes
        return (
            values * self.bits / 8 + scales + (self.codes.size / 8 if self.is_sparse else 0) + 600
        )

    @property
    def form(self) -> str:
        """The form in words."""
        bits = "" if self.bits == 32 else f"{self.bits} bits"
        return ", ".join(part for part in (bits, "mask" if self.is_sparse else "") if part)


def _smallest(value: Array) -> _Stored | None:
    forms = [
        _Stored(shape=value.shape, codes=value, bits=32, scale=None, is_sparse=is_sparse)
        for is_sparse in (False, True)
    ]
    found = _whole_numbers(value)
    if found is not None:
        codes, scale = found
        top = int(np.abs(codes).max(initial=0))
        bits = 2 if top <= 1 else 4 if top <= 7 else 8
        forms += [
            _Stored(shape=value.shape, codes=codes, bits=bits, scale=scale, is_sparse=is_sparse)
            for is_sparse in (False, True)
        ]
    best = min(forms, key=lambda form: form.bytes)
    return None if best is forms[0] else best


def _whole_numbers(value: Array) -> tuple[Array, Array] | None:
    """Codes and scales whose product is exactly ``value``, if one for each channel will do."""
    for axis in (0, value.ndim - 1):
        rows = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
        shape = [1] * value.ndim
        shape[axis] = -1
        for bits in (2, 3, 4, 5, 6, 7, 8):
            scale = _scales(rows, 2 ** (bits - 1) - 1)
            if scale is not None:
                wide = scale.reshape(shape)
                codes = np.rint(value / np.where(wide > 0, wide, 1))
                return codes.astype(np.int8), wide
    return None


def _scales(rows: Array, top: int) -> Array | None:
    """One scale per row so that the row is whole numbers up to ``top`` times it, in float32."""
    largest = np.abs(rows).max(1)
    scale = np.where(largest > 0, largest / np.float32(top), np.float32(1)).astype(np.float32)
    found, left = scale.copy(), np.ones(len(rows), bool)
    # The largest value was rounded when it was made of the scale: its neighbours are tried too.
    for step in (0, 1, -1, 2, -2):
        tried = scale
        for _ in range(abs(step)):
            tried = np.nextafter(tried, np.float32(np.inf if step > 0 else 0), dtype=np.float32)
        codes = np.rint(rows / tried[:, None]).astype(np.float32)
        fits = left & (codes * tried[:, None] == rows).all(1) & (np.abs(codes).max(1) <= top)
        found[fits] = tried[fits]
        left &= ~fits
        if not left.any():
            return found
    return None


class _Writer:
    """Puts the stored forms and the nodes that unpack them into a graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._nodes: list[Any] = []
        self._known: dict[str, str] = {}

    def replace(self, tensor: Any, stored: _Stored) -> None:
        """Takes a weight out and its stored form in, under the same name."""
        name = tensor.name
        self._graph.initializer.remove(tensor)
        for listed in [i for i in self._graph.input if i.name == name]:
            self._graph.input.remove(listed)
        flat = stored.codes.reshape(-1)
        kept = flat[flat != 0] if stored.is_sparse else flat
        values = self._values(f"{name}.packed", kept, stored.bits)
        if stored.is_sparse:
            values = self._spread(f"{name}.mask", values, flat != 0)
        shape = self._constant(f"{name}.shape", np.array(stored.shape, np.int64))
        if stored.scale is None:
            self._node("Reshape", [values, shape], name)
            return
        codes = self._node("Reshape", [values, shape], f"{name}.codes")
        scale = self._constant(f"{name}.scale", stored.scale)
        self._node("Mul", [codes, scale], name)

    def finish(self) -> None:
        """The nodes that unpack come first: the graph's order is that of the computation."""
        rest = list(self._graph.node)
        del self._graph.node[:]
        self._graph.node.extend([*self._nodes, *rest])

    def _values(self, name: str, values: Array, bits: int) -> str:
        """The name of the flat float values."""
        if bits == 32:
            return self._constant(name, values.astype(np.float32))
        if bits == 8:
            return self._cast(self._constant(name, values.astype(np.int8)), name, "FLOAT")
        per_byte = 8 // bits
        offset = 1 << (bits - 1)
        shifted = np.zeros(-(-max(1, values.size) // per_byte) * per_byte, np.uint8)
        shifted[: values.size] = values.astype(np.int16) + offset
        shifts = np.arange(per_byte, dtype=np.uint8) * bits
        packed = (shifted.reshape(-1, per_byte) << shifts).sum(1).astype(np.uint8)
        parts = self._unpacked(name, packed, bits, values.size)
        floats = self._cast(parts, f"{name}.parts", "FLOAT")
        middle = self._shared(np.array(offset, np.float32))
        return self._node("Sub", [floats, middle], f"{name}.values")

    def _spread(self, name: str, values: str, mask: Array) -> str:
        """The name of the values in their places, zeros between."""
        packed = np.packbits(mask, bitorder="little")
        bits = self._unpacked(name, packed, 1, mask.size)
        ones = self._cast(bits, f"{name}.ones", "INT64")
        axis = self._shared(np.array(0, np.int64))
        count = self._node("CumSum", [ones, axis], f"{name}.count")
        one, none = self._shared(np.array(1, np.int64)), self._shared(np.array(0, np.int64))
        place = self._node("Sub", [count, one], f"{name}.place")
        inside = self._node("Max", [place, none], f"{name}.inside")
        # One value more than there are, for a weight that is zero everywhere.
        padded = self._node(
            "Concat", [values, self._shared(np.zeros(1, np.float32))], f"{name}.padded", axis=0
        )
        taken = self._node("Gather", [padded, inside], f"{name}.taken", axis=0)
        is_there = self._cast(bits, f"{name}.there", "BOOL")
        zero = self._shared(np.array(0, np.float32))
        return self._node("Where", [is_there, taken, zero], f"{name}.spread")

    def _unpacked(self, name: str, packed: Array, bits: int, count: int) -> str:
        """The name of the first ``count`` numbers of ``bits`` bits in bytes, lowest bits first."""
        column = self._constant(f"{name}.bytes", packed.reshape(-1, 1))
        shifts = self._shared(np.arange(0, 8, bits, dtype=np.uint8).reshape(1, -1))
        shifted = self._node("BitShift", [column, shifts], f"{name}.shifted", direction="RIGHT")
        size = self._shared(np.array(1 << bits, np.uint8))
        parts = self._node("Mod", [shifted, size], f"{name}.low")
        flat = self._node("Reshape", [parts, self._shared(np.array([-1]))], f"{name}.flat")
        start = self._shared(np.array([0], np.int64))
        end = self._constant(f"{name}.end", np.array([count], np.int64))
        return self._node("Slice", [flat, start, end], f"{name}.bits")

    def _cast(self, value: str, name: str, kind: str) -> str:
        import onnx

        return self._node(
            "Cast", [value], f"{name}.{kind.lower()}", to=getattr(onnx.TensorProto, kind)
        )

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _shared(self, value: Array) -> str:
        """A constant that all weights use, stored once."""
        key = f"packed.{value.dtype}.{'x'.join(map(str, value.shape))}.{value.flatten()[:9]}"
        key = key.replace(" ", "_")
        if key not in self._known:
            self._known[key] = (
                self._constant(key, value) if value.ndim else self._scalar(key, value)
            )
        return self._known[key]

    def _scalar(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name
