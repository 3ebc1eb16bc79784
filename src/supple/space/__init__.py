"""Space: the named choices of a model, its configs, constraints and encodings. No torch.

`supple.space.swap` opens the choice of block in a model. It works on modules, so it lives in
`supple.elastic.swap` and is fetched from there when first asked for.
"""

import importlib
from typing import Any

from supple.space.choice import (
    Bits,
    Choice,
    Condition,
    Depth,
    Kernel,
    Kind,
    Option,
    Resolution,
    Swap,
    Width,
)
from supple.space.config import Config
from supple.space.constraints import Constraint, Divides, Equal, Multiple, Ordered, Sum
from supple.space.space import Encoding, Space

__all__ = [
    "Bits",
    "Choice",
    "Condition",
    "Config",
    "Constraint",
    "Depth",
    "Divides",
    "Encoding",
    "Equal",
    "Kernel",
    "Kind",
    "Multiple",
    "Option",
    "Ordered",
    "Resolution",
    "Space",
    "Sum",
    "Swap",
    "Width",
]


def __getattr__(name: str) -> Any:
    if name == "swap":
        return importlib.import_module("supple.elastic.swap").swap
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
