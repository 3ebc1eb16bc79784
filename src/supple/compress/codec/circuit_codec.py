"""A lossless codec: the conditionals of a hidden Chow-Liu tree drive a range coder (2111.11632).

What is coded comes back exactly, whatever it is: values that the model does not know are stored
beside. The code length is the model's -log2 p(x) and some bytes.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from supple.compress.codec.hidden_chow_liu import Array, HiddenChowLiuTree
from supple.errors import DataError, MissingExtraError
from supple.papers import implements

__all__ = ["CircuitCodec"]

MAGIC = b"SPC1"
# Magic, checksum of all that follows; dtype, rows, columns, checksum of the table, bytes of
# unknown values.
START = struct.Struct("<4sI")
HEADER = struct.Struct("<BIIII")
DTYPES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
LEAST = 2.0**-20  # of a value's probability: what the coder's 24 bits can hold many times over


@implements(57)
class CircuitCodec:
    """Encodes tables of whole numbers with a fitted model.

    All rows of a table go side by side through one stream, so the model is walked once. The
    decoder needs the same model, and the same arithmetic: sums are made in a fixed order, and a
    checksum tells where a machine's floats differ after all.

    Args:
        model: A fitted `HiddenChowLiuTree`.

    Example:
        >>> import numpy as np
        >>> from supple.compress.codec import CircuitCodec, HiddenChowLiuTree
        >>> x = np.repeat([[0, 0, 0, 0], [1, 1, 1, 1]], 500, axis=0)
        >>> codec = CircuitCodec(HiddenChowLiuTree(states=2, categories=2).fit(x))
        >>> data = codec.encode(x)
        >>> len(data) < 250, bool((codec.decode(data) == x).all())
        (True, True)
    """

    def __init__(self, model: HiddenChowLiuTree) -> None:
        if not model.parents:
            raise DataError("the model of the codec is not fitted.", hint="model.fit(x) first.")
        self.model = model

    def encode(self, x: Any) -> bytes:
        """A table of whole numbers, shape (examples, variables), as bytes.

        Raises:
            DataError: It is not a table of whole numbers with the model's variables.
            MissingExtraError: The package ``constriction`` is not installed.
        """
        x = np.asarray(x)
        if x.ndim != 2 or x.dtype.kind not in "iub":
            raise DataError(
                f"a table of whole numbers is needed, got shape {x.shape} of {x.dtype}.",
                hint="number the values of each column; floats may be viewed as bytes.",
            )
        if x.shape[1] != len(self.model.parents):
            raise DataError(
                f"the model is of {len(self.model.parents)} variables, the table has {x.shape[1]}."
            )
        known = (x >= 0) & (x < self.model.categories)
        symbols = np.where(known, x, 0).astype(np.int64)
        coder = _constriction().stream.queue.RangeEncoder()
        family = _family()

        def choose(node: int, chance: Array) -> Array:
            coder.encode(symbols[:, node].astype(np.int32), family, _floored(chance))
            return symbols[:, node]

        if len(x):
            self.model.code(len(x), choose)
        stream = coder.get_compressed().astype("<u4").tobytes()
        return _packed(x, known, stream)

    def decode(self, data: bytes) -> Array:
        """The table that was encoded.

        Raises:
            DataError: The bytes are damaged, or of another model.
        """
        header, extra, stream = _unpacked(data)
        count, columns = header["shape"]
        if columns != len(self.model.parents):
            raise DataError(
                f"the data has {columns} variables, the model {len(self.model.parents)}.",
                hint="the model that it was encoded with.",
            )
        words = np.frombuffer(stream, dtype="<u4").astype(np.uint32)
        coder = _constriction().stream.queue.RangeDecoder(words)
        family = _family()

        def choose(node: int, chance: Array) -> Array:
            try:
                return np.asarray(coder.decode(family, _floored(chance)), dtype=np.int64)
            except Exception as error:
                raise _damaged(str(error)) from None

        found = self.model.code(count, choose) if count else np.zeros((0, columns), dtype=np.int64)
        x = found.astype(np.dtype(header["dtype"]))
        if extra:
            places, values = _read_unknown(extra, x.dtype)
            x.reshape(-1)[places] = values
        if _checksum(x) != header["crc"]:
            raise _damaged("its checksum is another")
        return x

    def bits_per_value(self, x: Any) -> float:
        """What an ideal coder would need for each value: the mean of -log2 p."""
        return float(-self.model.log_prob(x).sum() / np.log(2) / np.asarray(x).size)


def _packed(x: Array, known: Array, stream: bytes) -> bytes:
    extra = b""
    if not known.all():
        places = np.flatnonzero(~known).astype("<i8")
        values = np.ascontiguousarray(x.reshape(-1)[places])
        extra = zlib.compress(places.tobytes() + values.tobytes(), 9)
    kind = DTYPES.index(x.dtype.newbyteorder("=").str[1:])
    body = HEADER.pack(kind, *x.shape, _checksum(x), len(extra)) + extra + stream
    return START.pack(MAGIC, zlib.crc32(body)) + body


def _unpacked(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    try:
        magic, whole = START.unpack_from(data)
        kind, rows, columns, crc, size = HEADER.unpack_from(data, START.size)
    except struct.error:
        raise _damaged("it is too short") from None
    if magic != MAGIC:
        raise _damaged("it does not begin as a coded table does")
    if zlib.crc32(data[START.size :]) != whole:
        raise _damaged("its checksum is another")
    start = START.size + HEADER.size
    stream = data[start + size :]
    header = {"shape": (rows, columns), "dtype": DTYPES[kind], "crc": crc}
    return header, data[start : start + size], stream


def _checksum(x: Array) -> int:
    """The same on every machine, whatever its byte order."""
    return zlib.crc32(np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<")).tobytes())


def _read_unknown(extra: bytes, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    try:
        raw = zlib.decompress(extra)
    except zlib.error as error:
        raise _damaged(str(error)) from None
    count = len(raw) // (8 + dtype.itemsize)
    return np.frombuffer(raw[: 8 * count], "<i8"), np.frombuffer(raw[8 * count :], dtype)


def _damaged(what: str) -> DataError:
    return DataError(
        f"the coded data cannot be read: {what}.",
        why="It is damaged or cut short, was coded with another model, or on a machine whose "
        "floating-point sums differ.",
        hint="the model and the bytes as they were written.",
    )


def _floored(chance: Array) -> Array:
    return np.ascontiguousarray(np.maximum(chance, LEAST), dtype=np.float64)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError:
        raise MissingExtraError.of("constriction", "codec", "the lossless codec") from None
    return constriction


def _family() -> Any:
    """A categorical distribution whose probabilities come with each call."""
    return _constriction().stream.model.Categorical(perfect=False)
