"""How many numbers a network has learned."""

from __future__ import annotations

from dataclasses import dataclass

from supple.elastic._call import Network
from supple.measure.measurement import Direction, Measure, Measurement, plain_module

__all__ = ["Parameters"]


@dataclass(frozen=True, kw_only=True)
class Parameters(Measure):
    """The number of parameters; one that several layers share counts once, buffers do not count.

    ``details`` holds ``buffers`` (numbers in buffers), ``trainable`` and ``bytes`` of the
    parameters.

    Attributes:
        name: What a study calls it.
        unit: The unit of its figures.
        direction: Fewer are better.

    Example:
        >>> import torch
        >>> Parameters().measure(torch.nn.Linear(4, 3)).value
        15
    """

    name: str = "params"
    unit: str = "parameter"
    direction: Direction = "min"

    def measure(self, network: Network) -> Measurement:
        """Counts the parameters of ``network``."""
        module = plain_module(network, self.name)
        parameters = list(module.parameters())
        return Measurement.exact(
            sum(tensor.numel() for tensor in parameters),
            self.unit,
            trainable=sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
            buffers=sum(tensor.numel() for tensor in module.buffers()),
            bytes=sum(tensor.numel() * tensor.element_size() for tensor in parameters),
        )
