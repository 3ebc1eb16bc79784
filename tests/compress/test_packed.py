"""Packed ONNX files: the same outputs bit for bit, in the bytes that were counted."""

import numpy as np
import pytest
import torch
from torch import nn

from supple.compress.quantize import Binary, KMeans, Ternary, Uniform, bake_, quantize_

pytest.importorskip("onnxruntime")

from supple.compress.packed import _smallest, pack_onnx
from supple.compress.quantize.onnx_graph import OnnxNetwork, record


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 40), nn.Linear(40, 20)
        ).eval()


def images(count=2, seed=0):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def sparse(model, share, seed=0):
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.mul_(torch.rand(p.shape, generator=draws) >= share)
    return model


def check(model, most):
    graph = record(model, (images(),))
    packed = pack_onnx(graph.model)
    x = images(5, seed=1)
    assert torch.equal(OnnxNetwork(graph, packed.model)(x), OnnxNetwork(graph)(x))
    assert len(packed.model) <= most * len(graph.model)
    return packed.forms


@pytest.mark.parametrize(("share", "most"), [(0.5, 0.6), (0.9, 0.22), (0.99, 0.13)])
def test_sparse_weights_take_a_mask_and_their_values(share, most):
    forms = check(sparse(network(), share), most)
    assert set(forms.values()) == {"mask"}


@pytest.mark.parametrize(("bits", "most"), [(8, 0.35), (4, 0.22), (2, 0.16)])
def test_low_bits_take_whole_numbers_and_scales(bits, most):
    model = network()
    quantize_(model, weight=Uniform(bits=bits))
    forms = check(bake_(model), most)
    assert set(forms.values()) <= {f"{bits} bits", f"{bits} bits, mask"}


@pytest.mark.parametrize("quantizer", [Binary(), Ternary(), Uniform(bits=3, granularity="tensor")])
def test_other_formats_that_are_whole_numbers_are_seen_too(quantizer):
    model = network()
    quantize_(model, weight=quantizer)
    assert set(check(bake_(model), 0.22).values()) <= {"2 bits", "4 bits", "2 bits, mask"}


def test_sparse_and_low_bits_together():
    model = sparse(network(), 0.9)
    quantize_(model, weight=Uniform(bits=8))
    assert set(check(bake_(model), 0.14).values()) == {"8 bits, mask"}


def test_what_does_not_get_smaller_stays_as_it_is():
    graph = record(network(), (images(),))
    assert pack_onnx(graph.model).model == graph.model
    model = network()
    quantize_(model, weight=KMeans(bits=4))  # levels are not whole numbers of a step
    assert not check(bake_(model), 1.0)


def test_a_weight_of_zeros_and_one_of_a_single_value():
    model = network()
    with torch.no_grad():
        model[3].weight.zero_()
        model[0].weight.fill_(0.3)
    check(model, 0.3)


@pytest.mark.parametrize("seed", range(20))
def test_stored_forms_give_the_weight_back_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(12, 40)).astype(np.float32)
    bits = int(rng.integers(2, 9))
    quantized = Uniform(bits=bits)(torch.from_numpy(value)).numpy()
    stored = _smallest(quantized)
    assert stored is not None
    assert np.array_equal(stored.codes * stored.scale, quantized)
