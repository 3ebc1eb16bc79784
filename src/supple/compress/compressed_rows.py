"""Sparse layers that run as such: weights in compressed rows (CSR), without their zeros.

Zeros that are stored and multiplied cost what other numbers cost. In compressed rows only the
weights that are kept are stored and read, which is smaller, and faster where enough of them are
gone: on common processors from about nine in ten for batches, and later for single samples.
`sparse_speed` measures where that is.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supple.compress.mask import remove_masks
from supple.compress.sparsity import check_ratio
from supple.errors import CompressError
from supple.seeds import torch_generator

__all__ = ["CompressedRowsLinear", "SparseSpeed", "compress_rows", "sparse_speed"]


class CompressedRowsLinear(nn.Module):
    """A linear layer in compressed rows, for running, not for training.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        kept: Weights that are kept.
        bias: Whether there is a bias.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from supple.compress.compressed_rows import CompressedRowsLinear
        >>> layer = nn.Linear(4, 2)
        >>> _ = layer.weight.data[0].zero_()
        >>> sparse = CompressedRowsLinear.of(layer)
        >>> sparse.values.shape, torch.allclose(sparse(torch.ones(3, 4)), layer(torch.ones(3, 4)))
        (torch.Size([4]), True)
    """

    values: Tensor
    columns: Tensor
    starts: Tensor
    bias: Tensor | None

    def __init__(
        self, in_features: int, out_features: int, *, kept: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("values", torch.zeros(kept))
        self.register_buffer("columns", torch.zeros(kept, dtype=torch.int32))
        self.register_buffer("starts", torch.zeros(out_features + 1, dtype=torch.int32))
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)

    @classmethod
    def of(cls, layer: nn.Linear) -> CompressedRowsLinear:
        """The weights of a linear layer that are not zero."""
        weight = layer.weight.detach()
        made = cls(
            layer.in_features, layer.out_features, kept=int((weight != 0).sum()),
            bias=layer.bias is not None,
        )  # fmt: skip
        rows, columns = torch.nonzero(weight, as_tuple=True)
        counts = torch.bincount(rows, minlength=layer.out_features)
        made.values = weight[rows, columns].clone()
        made.columns = columns.int()
        made.starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        if layer.bias is not None:
            made.bias = layer.bias.detach().clone()
        return made.train(layer.training)

    def dense(self) -> Tensor:
        """The weight with its zeros."""
        return self._matrix().to_dense()

    def _matrix(self) -> Tensor:
        with warnings.catch_warnings():
            # torch calls compressed rows a beta feature, once a process.
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(
                self.starts, self.columns, self.values, (self.out_features, self.in_features),
                check_invariants=False,
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Shape (…, in_features) to (…, out_features)."""
        if x.shape[-1] != self.in_features:
            raise CompressError(
                f"a layer of {self.in_features} inputs was given {tuple(x.shape)}.",
                hint=f"a last dimension of {self.in_features}",
            )
        flat = x.reshape(-1, self.in_features)
        out = (self._matrix() @ flat.T).T
        if self.bias is not None:
            out = out + self.bias
        return out.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Sizes for ``print``."""
        return f"{self.in_features}, {self.out_features}, kept={len(self.values)}"


def compress_rows(model: nn.Module, *, at_least: float = 0.9) -> nn.Module:
    """A copy of a model whose sparse linear layers run in compressed rows.

    Masks are taken off, zeros stay. Layers with fewer zeros, and all other kinds, stay what they
    are: a convolution has no fast sparse form here, cut its channels instead.

    Args:
        model: A pruned model, with masks or without.
        at_least: Share of zeros from which a layer is replaced.

    Raises:
        CompressError: No layer is sparse enough.

    Example:
        >>> from torch import nn
        >>> from supple.compress.compressed_rows import compress_rows
        >>> from supple.compress.prune import prune
        >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        >>> type(compress_rows(prune(model, 0.95, scope="uniform").network)[0]).__name__
        'CompressedRowsLinear'
    """
    check_ratio(at_least, "share of zeros")
    twin = remove_masks(copy.deepcopy(model))
    found = [
        (name, module)
        for name, module in twin.named_modules()
        if type(module) is nn.Linear and _zeros(module.weight) >= at_least
    ]
    if not found:
        shares = [_zeros(m.weight) for m in twin.modules() if type(m) is nn.Linear]
        raise CompressError(
            f"no linear layer has {at_least:.0%} zeros.",
            why=f"The sparsest has {max(shares, default=0.0):.0%}.",
            hint="prune(model, 0.9), or a smaller at_least",
        )
    for name, module in found:
        owner, _, leaf = name.rpartition(".")
        if not name:
            return CompressedRowsLinear.of(module)
        setattr(twin.get_submodule(owner), leaf, CompressedRowsLinear.of(module))
    return twin


def _zeros(weight: Tensor) -> float:
    return float((weight.detach() == 0).double().mean())


@dataclass(frozen=True, kw_only=True)
class SparseSpeed:
    """One measurement.

    Attributes:
        features: Inputs and outputs of the layer.
        batch: Samples of a call.
        ratio: Share of zeros.
        dense_us: Microseconds of a call with all numbers.
        sparse_us: The same in compressed rows.
    """

    features: int
    batch: int
    ratio: float
    dense_us: float
    sparse_us: float

    @property
    def speedup(self) -> float:
        """How many times faster compressed rows are; below 1 they are slower."""
        return self.dense_us / self.sparse_us


def sparse_speed(
    features: Sequence[int] = (512, 1024),
    batches: Sequence[int] = (1, 64),
    ratios: Sequence[float] = (0.8, 0.9, 0.95, 0.98),
    *,
    seconds: float = 0.05,
    seed: int = 0,
) -> tuple[SparseSpeed, ...]:
    """Measure a square linear layer with random zeros, dense and in compressed rows.

    Each is called in turns and its fastest turn counts: other work on the machine only ever slows.

    Args:
        features: Sizes of the layer.
        batches: Samples of a call.
        ratios: Shares of zeros.
        seconds: Time for each turn, about.
        seed: Of weights and zeros.

    Example:
        >>> from supple.compress.compressed_rows import sparse_speed
        >>> (found,) = sparse_speed([64], [4], [0.9], seconds=0.001)
        >>> found.dense_us > 0 and found.sparse_us > 0
        True
    """
    results = []
    for size in features:
        for batch in batches:
            for ratio in ratios:
                layer, x = _drawn(size, batch, ratio, seed)
                sparse = CompressedRowsLinear.of(layer)
                with torch.inference_mode():
                    dense_us, sparse_us = _fastest([layer, sparse], x, seconds)
                results.append(
                    SparseSpeed(
                        features=size, batch=batch, ratio=ratio, dense_us=dense_us,
                        sparse_us=sparse_us,
                    )
                )  # fmt: skip
    return tuple(results)


def _drawn(size: int, batch: int, ratio: float, seed: int) -> tuple[nn.Linear, Tensor]:
    draws = torch_generator(seed, "sparse speed", size)
    layer = nn.Linear(size, size, bias=False, device="meta").to_empty(device="cpu")
    weight = torch.randn(size, size, generator=draws)
    zeros = torch.rand(size, size, generator=draws) < ratio
    with torch.no_grad():
        layer.weight.copy_(weight.masked_fill(zeros, 0.0))
    return layer, torch.randn(batch, size, generator=draws)


def _fastest(layers: Sequence[Callable[[Tensor], Any]], x: Tensor, seconds: float) -> list[float]:
    """Microseconds of a call of each, in the fastest of five turns."""
    found = [float("inf")] * len(layers)
    for _ in range(5):
        for place, layer in enumerate(layers):
            layer(x)
            began, calls = time.perf_counter(), 0
            while time.perf_counter() - began < seconds or not calls:
                layer(x)
                calls += 1
            found[place] = min(found[place], (time.perf_counter() - began) / calls * 1e6)
    return found
