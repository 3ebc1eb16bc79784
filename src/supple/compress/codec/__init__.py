"""Lossless: the same data in less space, by a model of it and an entropy coder."""

from supple.compress.codec.circuit_codec import CircuitCodec
from supple.compress.codec.hidden_chow_liu import (
    HiddenChowLiuTree,
    chow_liu_tree,
    mutual_information,
)

__all__ = ["CircuitCodec", "HiddenChowLiuTree", "chow_liu_tree", "mutual_information"]
