"""Uniform quantization against torch's own fake quantization, ONNX Runtime and plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supple.compress.quantize import Uniform
from supple.errors import CompressError


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_torch(x, quantizer):
    """The same grid through torch.fake_quantize_*."""
    grid = quantizer.grid(quantizer.rows(x.detach()))
    if quantizer.granularity == "tensor":
        return torch.fake_quantize_per_tensor_affine(
            x, float(grid.scale), int(grid.zero), grid.low, grid.high
        )
    return torch.fake_quantize_per_channel_affine(
        x, grid.scale.flatten(), grid.zero.flatten().int(), 0, grid.low, grid.high
    )


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_values_and_gradients_equal_torchs_fake_quantization(bits, symmetric, granularity):
    quantizer = Uniform(bits=bits, symmetric=symmetric, granularity=granularity, estimator="mse")
    x = values(8, 33).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    ours, theirs = quantizer(x), by_torch(twin, quantizer)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    weight = values(8, 33, seed=1)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    # At the very ends of the range the two say differently whether x is clipped.
    differ = x.grad != twin.grad
    grid = quantizer.grid(quantizer.rows(x.detach()))
    ends = (grid.codes(x.detach()) == grid.low) | (grid.codes(x.detach()) == grid.high)
    assert not (differ & ~ends).any()


def test_equals_onnx_runtime():
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    x = values(500) * 3
    quantizer = Uniform(bits=8, symmetric=False, granularity="tensor")
    grid = quantizer.grid(x[None])
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [500])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [500])],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [float(grid.scale)]),
            helper.make_tensor("z", TensorProto.UINT8, [], [int(grid.zero)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x.numpy()})
    assert np.array_equal(found, quantizer(x).numpy())


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_error_is_at_most_half_a_step_and_a_second_time_changes_nothing(granularity):
    quantizer = Uniform(bits=5, granularity=granularity, group_size=11)
    x = values(6, 33)
    once = quantizer(x)
    scale = quantizer.grid(quantizer.rows(x)).scale
    assert ((quantizer.rows(once - x)).abs() <= scale / 2 * (1 + 1e-5)).all()
    torch.testing.assert_close(quantizer(once), once, rtol=0, atol=1e-6)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20), st.booleans())
def test_zero_is_exact_and_order_is_kept(numbers, symmetric):
    x = torch.tensor([*numbers, 0.0])
    found = Uniform(bits=3, symmetric=symmetric, granularity="tensor")(x)
    assert found[-1] == 0
    assert (found[x.argsort()].diff() >= 0).all()


def test_groups_are_channels_of_their_own():
    x = values(4, 24)
    grouped = Uniform(bits=3, granularity="group", group_size=8)(x)
    single = Uniform(bits=3, granularity="channel")(x.reshape(12, 8)).reshape(4, 24)
    assert torch.equal(grouped, single)
    assert (
        Uniform(bits=3, granularity="group", group_size=8).stored_bits((4, 24)) == 96 * 3 + 12 * 32
    )


def test_mse_range_is_the_best_of_a_fine_search():
    x = torch.cat([values(400), torch.tensor([9.0])])
    error = {}
    for estimator in ("minmax", "percentile", "mse"):
        quantizer = Uniform(bits=3, granularity="tensor", estimator=estimator)
        error[estimator] = float((quantizer(x) - x).square().mean())
    best = min(
        float(
            (torch.fake_quantize_per_tensor_affine(x, 9 * c / 500 / 3, 0, -3, 3) - x)
            .square()
            .mean()
        )
        for c in range(5, 501)
    )
    assert best <= error["mse"] * (1 + 1e-6)
    assert error["mse"] <= best * 1.03
    assert error["mse"] <= min(error.values())


def test_percentile_range_is_numpys():
    x = values(1, 1001)
    quantizer = Uniform(bits=8, symmetric=False, estimator="percentile", percentile=90)
    grid = quantizer.grid(x)
    low, high = np.percentile(x.numpy(), [5, 95])
    assert float(grid.scale) == pytest.approx((high - low) / 255, rel=1e-5)


def entropy_clip_slowly(x, bits, bins=1024, clips=96):
    """TensorRT's rule with Python loops."""
    size = np.abs(x)
    counts, _ = np.histogram(size, bins=bins, range=(0, size.max()))
    levels = 2 ** (bits - 1)
    best, least = None, np.inf
    for clip in sorted({int(c) for c in np.linspace(levels, bins, clips)}):
        p = counts[:clip].astype(float).copy()
        q = np.zeros(clip)
        for level in range(levels):
            members = [i for i in range(clip) if i * levels // clip == level]
            filled = [i for i in members if p[i] > 0]
            for i in filled:
                q[i] = p[members].sum() / len(filled)
        p[-1] += counts[clip:].sum()
        p, q = p / p.sum(), q / q.sum()
        divergence = sum(a * np.log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0)
        if divergence < least - 1e-12:
            best, least = clip, divergence
    return size.max() * best / bins


def test_entropy_range_equals_the_slow_one():
    x = torch.cat([values(2000), torch.tensor([12.0])])
    grid = Uniform(bits=5, granularity="tensor", estimator="entropy").grid(x[None])
    assert float(grid.scale) * 15 == pytest.approx(entropy_clip_slowly(x.numpy(), 5), rel=1e-5)
    assert float(grid.scale) * 15 < 11


@pytest.mark.parametrize("estimator", ["minmax", "percentile", "mse", "entropy"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_constants_and_zeros(estimator, symmetric):
    quantizer = Uniform(bits=4, estimator=estimator, symmetric=symmetric)
    assert torch.equal(quantizer(torch.zeros(2, 3)), torch.zeros(2, 3))
    constant = torch.full((2, 3), -1.5)
    torch.testing.assert_close(quantizer(constant), constant, rtol=0.05, atol=0)


def test_bad_settings_and_values_say_what_to_do():
    for settings in (
        {"bits": 1},
        {"bits": 17},
        {"bits": 4.0},
        {"percentile": 0},
        {"group_size": 0},
    ):
        with pytest.raises(CompressError):
            Uniform(**settings)
    with pytest.raises(CompressError, match="no range estimator 'max'"):
        Uniform(estimator="max")
    with pytest.raises(CompressError, match="granularity='row'"):
        Uniform(granularity="row")
    with pytest.raises(CompressError, match="NaN or infinity, in 1 places"):
        Uniform()(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(CompressError, match="group_size=3"):
        Uniform(granularity="group", group_size=6)(values(2, 9))
