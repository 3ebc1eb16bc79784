"""L-Mul: products of floats by one addition of whole numbers (2410.00907).

H. Luo, W. Sun, "Addition is All You Need for Energy-efficient Language Models", 2024. For floats
(1 + a) 2^p and (1 + b) 2^q the product is (1 + a + b + ab) 2^(p+q); L-Mul puts the constant 2^-l in
the place of ab. Then exponent and mantissa, read as one whole number, are simply added:
Z = X + Y - offset, where a sum of mantissas of 1 or more carries into the exponent.

This simulates the arithmetic, slower than multiplying; what it saves is energy on hardware that has
it, which `energy` models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from supple.compress.quantize._quantizer import straight_through
from supple.errors import CompressError
from supple.papers import implements

__all__ = ["LMul", "LMulLinear", "energy", "round_mantissa", "simulate_fp8", "use_arithmetic_"]

_BIAS = 127 << 23
_LARGEST = 0x7F7FFFFF  # the bits of the largest finite float32
_SMALLEST = 1 << 23  # of the smallest normal one


def round_mantissa(x: Tensor, bits: int) -> Tensor:
    """``x`` with ``bits`` bits of mantissa, halves to even, in float32's range of exponents.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import round_mantissa
        >>> round_mantissa(torch.tensor([1.3, -5.1]), 2)
        tensor([ 1.2500, -5.0000])
    """
    mantissa, exponent = torch.frexp(x)
    unit = 2.0 ** (bits + 1)
    return torch.ldexp(torch.round(mantissa * unit) / unit, exponent)


def simulate_fp8(x: Tensor, form: Literal["e4m3", "e5m2"]) -> Tensor:
    """``x`` as an 8-bit float and back; what is too large becomes the largest finite value.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import simulate_fp8
        >>> simulate_fp8(torch.tensor([0.3, 1e6]), "e4m3").tolist()
        [0.3125, 448.0]
    """
    types = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
    if form not in types:
        raise CompressError(f"there is no 8-bit float {form!r}.", hint='"e4m3" or "e5m2".')
    top = torch.finfo(types[form]).max
    return x.clamp(-top, top).to(types[form]).to(x.dtype)


@implements(66)
@dataclass(frozen=True, kw_only=True)
class LMul:
    """The arithmetic: called on two tensors it gives their product, element by element.

    Gradients are those of the true product. Zero times anything finite is exactly 0; results below
    float32's normal range become 0, NaN and infinity do what they do in products.

    Attributes:
        mantissa_bits: Of the factors, from 1 to 23.
        offset: l of the constant 2^-l: a whole number up to ``mantissa_bits``, ``"paper"`` (m for
            m up to 3, 3 for 4, then 4) or ``"calibrated"`` (m up to 4, then 4), which is nearer.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import LMul
        >>> LMul(mantissa_bits=3)(torch.tensor([1.0, 3.0, 0.0]), torch.tensor([1.0, -2.0, 5.0]))
        tensor([ 1.1250, -6.5000,  0.0000])
    """

    mantissa_bits: int = 4
    offset: int | Literal["paper", "calibrated"] = "paper"

    def __post_init__(self) -> None:
        if not 1 <= self.mantissa_bits <= 23:
            raise CompressError(
                f"LMul got mantissa_bits={self.mantissa_bits!r}.", hint="from 1 to 23."
            )
        if isinstance(self.offset, str) and self.offset not in ("paper", "calibrated"):
            raise CompressError(
                f"LMul got offset={self.offset!r}.", hint='"paper", "calibrated" or a number.'
            )
        if isinstance(self.offset, int) and not 0 <= self.offset <= self.mantissa_bits:
            raise CompressError(
                f"LMul got offset={self.offset!r} for {self.mantissa_bits} bits of mantissa.",
                why="2^-l has to be a multiple of the mantissa's last place.",
                hint="a whole number from 0 up to mantissa_bits.",
            )

    @property
    def l(self) -> int:  # noqa: E743 - the paper's name
        """The l of the constant 2^-l."""
        if isinstance(self.offset, int):
            return self.offset
        if self.offset == "calibrated":
            return min(self.mantissa_bits, 4)
        return {1: 1, 2: 2, 3: 3, 4: 3}.get(self.mantissa_bits, 4)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """X · y, element by element, with broadcasting."""
        value = self._product(self._bits(x), self._bits(y)).to(torch.result_type(x, y))
        if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
            return straight_through(value, x * y)
        return value

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """X @ y whose element products are L-Mul; the sums are ordinary float32 sums.

        Args:
            x: Shape (..., n, k).
            y: Shape (..., k, m).
        """
        with torch.no_grad():
            left, right = self._bits(x), self._bits(y)
            total = torch.zeros((), dtype=torch.float32)
            for k in range(x.shape[-1]):  # all at once would hold n · k · m products
                total = total + self._product(left[..., :, k, None], right[..., k, None, :])
            total = total.to(torch.result_type(x, y))
        if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
            return straight_through(total, x @ y)
        return total

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """softmax(q k^T / sqrt(d)) v with both products by L-Mul.

        Args:
            q: Queries, shape (..., tokens, d).
            k: Keys.
            v: Values.
            mask: Added to the scores, or False where not to look.
        """
        scores = self.matmul(q / math.sqrt(q.shape[-1]), k.transpose(-1, -2))
        if mask is not None:
            is_bool = mask.dtype == torch.bool
            scores = scores.masked_fill(~mask, -torch.inf) if is_bool else scores + mask
        return self.matmul(scores.softmax(-1), v)

    def _bits(self, x: Tensor) -> Tensor:
        """The float's bits at the mantissa's precision, with the sign, as int64."""
        rounded = round_mantissa(x.detach().float(), self.mantissa_bits)
        return rounded.contiguous().view(torch.int32).to(torch.int64)

    def _product(self, x: Tensor, y: Tensor) -> Tensor:
        size_x, size_y = x & 0x7FFFFFFF, y & 0x7FFFFFFF
        total = size_x + size_y - _BIAS + (1 << (23 - self.l))
        is_finite = (size_x <= _LARGEST) & (size_y <= _LARGEST)
        is_zero = (size_x < _SMALLEST) | (size_y < _SMALLEST) | (total < _SMALLEST)
        total = torch.where(is_zero, 0, total.clamp(0, _LARGEST + 1))
        bits = total | ((x ^ y) & 0x80000000)
        value = _signed(bits).view(torch.float32)
        if bool(is_finite.all()):
            return value
        plain = _signed(x).view(torch.float32) * _signed(y).view(torch.float32)
        return torch.where(is_finite, value, plain)


def _signed(bits: Tensor) -> Tensor:
    """32 bits, held in int64, as int32."""
    low = bits & 0xFFFFFFFF
    return torch.where(low >= 2**31, low - 2**32, low).to(torch.int32)


@implements(66)
class LMulLinear(nn.Module):
    """A linear layer whose products are L-Mul.

    Args:
        layer: The layer whose weight and bias it takes over (not copied).
        arithmetic: How it multiplies.

    Example:
        >>> import torch
        >>> from supple.compress.quantize import LMul, LMulLinear
        >>> plain = torch.nn.Linear(16, 4)
        >>> x = torch.randn(3, 16)
        >>> cheap = LMulLinear(plain, LMul(mantissa_bits=6))
        >>> bool((cheap(x) - plain(x)).abs().max() < 0.3)
        True
    """

    def __init__(self, layer: nn.Linear, arithmetic: LMul) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.arithmetic = arithmetic

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y = self.arithmetic.matmul(x.reshape(-1, x.shape[-1]), self.weight.T)
        y = y.reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.in_features}, {self.out_features}, {self.arithmetic}"


def use_arithmetic_(network: nn.Module, arithmetic: LMul) -> list[str]:
    """Makes every linear layer of a network multiply by L-Mul, in place; gives their names.

    Raises:
        CompressError: The network has no linear layer.

    Example:
        >>> from torch import nn
        >>> from supple.compress.quantize import LMul, use_arithmetic_
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        >>> use_arithmetic_(network, LMul(mantissa_bits=3))
        ['0', '2']
    """
    found = {n: p for n, p in network.named_modules() if type(p) is nn.Linear and n}
    if not found:
        raise CompressError(f"the {type(network).__name__} has no linear layer to change.")
    for name, part in found.items():
        network.set_submodule(name, LMulLinear(part, arithmetic))
    return list(found)


PICOJOULES = {
    ("mul", "float32"): 3.7, ("add", "float32"): 0.9, ("mul", "float16"): 1.1,
    ("add", "float16"): 0.4, ("mul", "int8"): 0.2, ("add", "int8"): 0.03, ("add", "int16"): 0.05,
    ("add", "int32"): 0.1,
}  # fmt: skip
"""Energy of one operation in a 45 nm process, in pJ (M. Horowitz, ISSCC 2014)."""


def energy(products: int, *, how: str, sums: str = "float32") -> dict[str, Any]:
    """Modelled energy of ``products`` products and as many sums, in pJ.

    Arithmetic alone: moving the numbers costs as much either way and is not in it.

    Args:
        products: How many.
        how: ``float32`` or ``float16`` multiplications, or ``l_mul`` (one int32 addition for
            float32 operands) or ``l_mul16`` (one int16 addition for 16-bit ones).
        sums: ``float32``, ``float16`` or ``none``.

    Example:
        >>> from supple.compress.quantize import energy
        >>> exact, cheap = (energy(1, how=how)["total"] for how in ("float32", "l_mul"))
        >>> round(1 - cheap / exact, 3)
        0.783
    """
    kinds = {
        "float32": ("mul", "float32"), "float16": ("mul", "float16"),
        "l_mul": ("add", "int32"), "l_mul16": ("add", "int16"),
    }  # fmt: skip
    if how not in kinds or sums not in ("float32", "float16", "none"):
        raise CompressError(
            f"no energy is known for how={how!r}, sums={sums!r}.",
            hint="how in " + ", ".join(kinds) + "; sums in float32, float16, none.",
        )
    multiply = products * PICOJOULES[kinds[how]]
    add = 0.0 if sums == "none" else products * PICOJOULES["add", sums]
    return {"products": multiply, "sums": add, "total": multiply + add, "is_modelled": True}
