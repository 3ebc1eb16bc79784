"""Quantization of what flows into a layer: a range fixed beforehand, or one of each batch.

A static range comes from calibration: batches are run through the network and observed. A dynamic
range is that of the values at hand, which needs no data and one more pass over them.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from supple.compress.quantize._grid import Grid, grid_of
from supple.compress.quantize._quantizer import check_finite, straight_through
from supple.compress.quantize._ranges import estimated_range
from supple.compress.quantize.learned import LSQ, PACT
from supple.compress.quantize.uniform import Uniform
from supple.errors import CompressError
from supple.papers import implements
from supple.seeds import torch_generator

__all__ = ["ActivationQuantizer", "Observer", "RangeMode"]

RangeMode = Literal["static", "dynamic", "lsq", "pact"]
"""Where the range comes from: calibration, each batch, or training."""

SAMPLE = 65_536
"""Values of one batch that an observer keeps; smallest and largest it keeps of all."""


class Observer:
    """What calibration saw: the smallest and largest value, and a random sample of the others.

    Args:
        seed: Of the sample.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import Observer, Uniform
        >>> observer = Observer()
        >>> observer.add(torch.tensor([-1.0, 3.0]))
        >>> [round(float(end), 3) for end in observer.range(Uniform(bits=8, symmetric=False))]
        [-1.0, 3.0]
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._draws = torch_generator(seed, "observer")
        self._parts: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Looks at one batch.

        Raises:
            CompressError: A value is NaN or infinite.
        """
        check_finite(x, "a batch of calibration")
        values = x.detach().reshape(-1).float().cpu()
        if not values.numel():
            return
        ends = torch.stack([values.min(), values.max()])
        if values.numel() > SAMPLE:
            picked = torch.randint(values.numel(), (SAMPLE,), generator=self._draws)
            values = torch.cat([values[picked], ends])
        self._parts.append(values)

    def range(self, quantizer: Uniform) -> tuple[Tensor, Tensor]:
        """The range that the quantizer's estimator gives for what was seen.

        Raises:
            CompressError: Nothing was seen.
        """
        if not self._parts:
            raise CompressError(
                "a range was asked for before any value was seen.",
                hint="calibrate(network, batches) with at least one batch.",
            )
        low, high = estimated_range(
            torch.cat(self._parts)[None], quantizer.estimator, bits=quantizer.bits,
            symmetric=quantizer.symmetric, percentile=quantizer.percentile,
        )  # fmt: skip
        return low.reshape(()), high.reshape(())


@implements(61)
class ActivationQuantizer(nn.Module):
    """Quantizes a tensor of activations, one scale for all of it.

    Args:
        quantizer: The format; its granularity is not used.
        mode: ``static`` (a range of calibration), ``dynamic`` (the range of each batch), ``lsq``
            or ``pact`` (a range that is trained).

    Attributes:
        scale: The step of a static range; NaN before calibration, where values pass unchanged.
        zero: The code of zero.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import ActivationQuantizer, Uniform
        >>> quantize = ActivationQuantizer(Uniform(bits=2, symmetric=False), mode="dynamic")
        >>> quantize(torch.tensor([0.0, 1.2, 3.0]))
        tensor([0., 1., 3.])
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, quantizer: Uniform, *, mode: RangeMode = "static") -> None:
        super().__init__()
        if mode not in get_args(RangeMode):
            raise CompressError(
                f"there is no mode {mode!r} for the range of activations.",
                hint=", ".join(f'"{known}"' for known in get_args(RangeMode)) + ".",
            )
        self.quantizer = quantizer
        self.mode: RangeMode = mode
        self.observer: Observer | None = None
        self.is_calibrated = False
        self.register_buffer("scale", torch.tensor(torch.nan))
        self.register_buffer("zero", torch.tensor(0.0))
        if mode == "lsq":
            self.learned: LSQ | PACT | None = LSQ(bits=quantizer.bits, signed=quantizer.symmetric)
        else:
            self.learned = PACT(bits=quantizer.bits) if mode == "pact" else None

    def set_range(self, low: Tensor, high: Tensor) -> None:
        """Fixes the range."""
        grid = grid_of(low, high, bits=self.quantizer.bits, symmetric=self.quantizer.symmetric)
        self.scale.copy_(grid.scale)
        self.zero.copy_(grid.zero)
        self.is_calibrated = True

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in the format; while calibrating ``x`` itself."""
        if self.observer is not None:
            self.observer.add(x)
            return x
        if self.learned is not None:
            learned: Tensor = self.learned(x)
            return learned
        if self.mode == "dynamic":
            with torch.no_grad():
                grid = self.quantizer.grid(x.reshape(1, -1))
                grid = Grid(grid.scale.reshape(()), grid.zero.reshape(()), grid.low, grid.high)
            return self._on(grid, x)
        if not self.is_calibrated:
            return x
        low, high = self._codes()
        return self._on(Grid(self.scale.to(x.dtype), self.zero.to(x.dtype), low, high), x)

    def _codes(self) -> tuple[int, int]:
        bits = self.quantizer.bits
        top = 2 ** (bits - 1) - 1
        return (-top, top) if self.quantizer.symmetric else (0, 2**bits - 1)

    @staticmethod
    def _on(grid: Grid, x: Tensor) -> Tensor:
        return straight_through(grid.nearest(x), grid.inside(x))

    def get_extra_state(self) -> Tensor:
        """Whether the range is fixed."""
        return torch.tensor(self.is_calibrated)

    def set_extra_state(self, state: Tensor) -> None:
        """Whether the range is fixed, as it was stored."""
        self.is_calibrated = bool(state)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.quantizer}, mode={self.mode!r}"
