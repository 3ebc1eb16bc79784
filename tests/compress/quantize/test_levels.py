"""Formats that are lists of values: against exhaustive search and closed forms."""

import itertools

import numpy as np
import pytest
import torch

from supple.compress.quantize import (
    AdditivePowersOfTwo,
    Binary,
    KMeans,
    PowersOfTwo,
    ProductQuantizer,
    Ternary,
)
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def nearest_slowly(x, levels):
    return np.array([min(levels, key=lambda level: abs(level - v)) for v in x])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_powers_of_two_are_the_nearest_of_the_list(bits):
    x = values(50).numpy().astype(np.float64)
    top = np.abs(x).max()
    powers = [top * 2.0**-k for k in range(2 ** (bits - 1) - 1)]
    expected = nearest_slowly(x, [0.0, *powers, *(-p for p in powers)])
    found = PowersOfTwo(bits=bits, granularity="tensor")(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)


def test_additive_powers_are_the_sums_of_the_paper():
    levels = AdditivePowersOfTwo(bits=5, granularity="tensor").levels(torch.ones(1, 1))[0]
    sums = {a + b for a in (0, 1, 1 / 4, 1 / 16) for b in (0, 1 / 2, 1 / 8, 1 / 32)}
    top = max(sums)
    expected = sorted({s / top for s in sums} | {-s / top for s in sums})
    np.testing.assert_allclose(levels.numpy(), expected, rtol=1e-6)
    with pytest.raises(CompressError):
        AdditivePowersOfTwo(bits=4)


def test_kmeans_finds_the_best_codebook_of_a_small_set():
    x = torch.tensor([0.0, 0.1, 1.0, 1.2, 5.0, 5.1, 7.0])
    found = KMeans(bits=2)(x)
    ordered = sorted(x.tolist())
    best = min(
        sum(
            sum((v - np.mean(part)) ** 2 for v in part)
            for part in np.split(np.array(ordered), borders)
            if len(part)
        )
        for borders in itertools.combinations(range(1, len(ordered)), 3)
    )
    assert float((found - x).square().sum()) == pytest.approx(best, rel=1e-4)


def test_kmeans_is_no_worse_than_scikit_learns():
    from sklearn.cluster import KMeans as Theirs

    x = values(600)
    theirs = Theirs(8, n_init=5, random_state=0).fit(x.numpy()[:, None]).inertia_
    assert float((KMeans(bits=3)(x) - x).square().sum()) <= theirs * 1.05


def test_product_quantizer_takes_the_nearest_code():
    x = values(64, 8)
    quantizer = ProductQuantizer(bits=4, length=2)
    found = quantizer(x)
    vectors, codes = x.reshape(-1, 2), found.reshape(-1, 2).unique(dim=0)
    assert len(codes) <= 16
    assert torch.equal(found.reshape(-1, 2), codes[torch.cdist(vectors, codes).argmin(1)])
    assert quantizer.stored_bits((64, 8)) == 64 * 8 * 4 / 2 + 16 * 2 * 32
    with pytest.raises(CompressError, match="length=1"):
        ProductQuantizer(length=3)(values(2, 8))


def test_binary_scale_is_the_least_squares_one():
    w = values(3, 40)
    found = Binary()(w)
    for row, quantized in zip(w, found, strict=True):
        sign = torch.where(row < 0, -1.0, 1.0)
        best = float((row * sign).sum() / (sign * sign).sum())
        torch.testing.assert_close(quantized, sign * best)


def test_ternary_by_hand():
    w = torch.tensor([[1.0, -0.1, 0.2, -3.0]])
    limit = 0.7 * (1 + 0.1 + 0.2 + 3) / 4
    kept = [v for v in (1.0, 0.1, 0.2, 3.0) if v > limit]
    scale = sum(kept) / len(kept)
    torch.testing.assert_close(Ternary()(w), torch.tensor([[scale, 0.0, 0.0, -scale]]))


@pytest.mark.parametrize(
    "quantizer", [Binary(), Ternary(), KMeans(), PowersOfTwo(), ProductQuantizer(length=1)]
)
def test_gradients_go_straight_through_and_zeros_stay(quantizer):
    x = values(4, 6).requires_grad_()
    weight = values(4, 6, seed=1)
    (quantizer(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    assert torch.equal(quantizer(torch.zeros(2, 3)), torch.zeros(2, 3))
    with pytest.raises(CompressError, match="NaN"):
        quantizer(torch.full((2, 2), torch.nan))
