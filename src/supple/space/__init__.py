"""Space: the named choices of a model, its configs, constraints and encodings. No torch."""

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
