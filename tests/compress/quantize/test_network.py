"""Networks in low bits: what is quantized, how ranges are found, what goes wrong."""

import copy

import pytest
import torch
from torch import nn

from supple.compress.quantize import (
    ActivationQuantizer,
    Observer,
    Uniform,
    bake_,
    calibrate,
    quantization_report,
    quantize_,
    weight_quantizers,
)
from supple.errors import CompressError, DataError

EIGHT = Uniform(symmetric=False, granularity="tensor")


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10), nn.Linear(10, 3)
        )


def images(count=5, seed=0):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_weights_are_on_the_grid_and_baked_ones_compute_the_same():
    model = network()
    plain = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert quantize_(model, weight=Uniform(bits=3), skip=["4"]) == ["0", "3"]
    assert torch.equal(model[0].weight, Uniform(bits=3)(plain["0.weight"]))
    assert torch.equal(model[4].weight, plain["4.weight"])
    expected = model(images())
    twin = copy.deepcopy(model)
    bake_(model)
    assert sorted(model.state_dict()) == sorted(network().state_dict())
    assert torch.equal(model(images()), expected)
    assert torch.equal(twin(images()), expected)


def test_static_ranges_are_those_of_torchs_observer():
    from torch.ao.quantization import MinMaxObserver

    model = network()
    quantize_(model, weight=None, activation=EIGHT, calibration=[images(5), images(7, seed=1)])
    observer = MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine, eps=1e-12)
    with torch.no_grad():
        observer(network()[:3](images(5)))
        observer(network()[:3](images(7, seed=1)))
    scale, zero = observer.calculate_qparams()
    found = model[3].input_quantizer
    assert float(found.scale) == pytest.approx(float(scale), rel=1e-6)
    assert int(found.zero) == int(zero)


def test_a_dynamic_range_is_that_of_the_batch():
    quantizer = ActivationQuantizer(EIGHT, mode="dynamic")
    x = images(3) * 7
    torch.testing.assert_close(quantizer(x), EIGHT(x))


def test_static_and_dynamic_agree_on_the_batch_of_calibration():
    found = []
    for mode in ("static", "dynamic"):
        model = network()
        batch = [images()] if mode == "static" else None
        quantize_(model, weight=Uniform(), activation=EIGHT, mode=mode, calibration=batch)
        found.append(model(images()))
    # Static ranges were seen behind float weights, so only the first layer's is the same.
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.05)
    assert not torch.equal(found[0], network()(images()))


@pytest.mark.parametrize("mode", ["static", "lsq", "pact", "dynamic"])
def test_training_goes_through_the_formats(mode):
    model = network()
    batch = [images()] if mode == "static" else None
    quantize_(model, weight=Uniform(bits=4), activation=EIGHT, mode=mode, calibration=batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(12):
        loss = model(images()).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


def test_state_dicts_go_round():
    model, other = network(), network(seed=1)
    for one in (model, other):
        quantize_(one, weight=Uniform(), activation=EIGHT)
    calibrate(model, [images()])
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(images()), other(images()))


def test_it_exports_and_the_file_equals_it(tmp_path):
    from supple.elastic.export import export

    model = network().eval()
    quantize_(model, weight=Uniform(bits=4), activation=EIGHT, calibration=[images()])
    report = export(bake_(model), tmp_path / "small.pt2", (images(),), atol=1e-6)
    assert report.largest_difference <= 1e-6


def test_formats_of_single_layers_come_first():
    model = network()
    quantize_(model, weight=Uniform(bits=4), layers={"0": Uniform(bits=8), "3": None})
    assert {n: q.bits for n, q in weight_quantizers(model).items()} == {"0": 8, "4": 4}


def test_the_report_counts_by_hand():
    model = network()
    quantize_(model, weight=Uniform(bits=4), activation=EIGHT, calibration=[images()], skip=["4"])
    report = quantization_report(model, images(2))
    conv, linear, last = report.layers
    assert conv.macs == 2 * 4 * 36 * 9
    assert linear.macs == 2 * 144 * 10
    assert conv.stored_bits == 36 * 4 + 4 * 32
    assert linear.bit_operations == 2 * 1440 * 4 * 8
    assert (last.weight_bits, last.activation_bits) == (32, 32)
    biases, ranges = (4 + 10 + 3) * 32, 2 * 2 * 32
    assert report.other_bits == biases + ranges
    assert "simulated" in str(report)


def test_bad_input_is_named_and_leaves_the_network_alone():
    model = network()
    with pytest.raises(CompressError, match="no layer '5'"):
        quantize_(model, weight=Uniform(), skip=["5"])
    with pytest.raises(CompressError, match="do not divide"):
        quantize_(model, weight=Uniform(granularity="group", group_size=16))
    with pytest.raises(CompressError, match="no layer to quantize"):
        quantize_(nn.ReLU(), weight=Uniform())
    with pytest.raises(CompressError, match="mode 'fixed'"):
        quantize_(network(), activation=EIGHT, mode="fixed")
    assert not weight_quantizers(model)
    quantize_(model, weight=Uniform(), activation=EIGHT)
    with pytest.raises(CompressError, match="quantized already"):
        quantize_(model, weight=Uniform())
    with pytest.raises(DataError, match="NaN or infinity"):
        calibrate(model, [images() * torch.nan])
    with pytest.raises(DataError, match="batch 1 .* does not fit"):
        calibrate(model, [images(), torch.ones(3, 5)])
    with pytest.raises(DataError, match="no batch"):
        calibrate(model, [])
    assert not model[0].input_quantizer.is_calibrated
    with pytest.raises(CompressError, match="nothing to calibrate"):
        calibrate(network(), [images()])


def test_calibration_keeps_modes_and_random_numbers():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    quantize_(model, activation=EIGHT)
    state = torch.get_rng_state()
    calibrate(model, [torch.ones(2, 4)])
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_a_sample_of_a_long_batch_holds_its_ends():
    observer = Observer()
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    observer.add(x)
    low, high = observer.range(EIGHT)
    assert (float(low), float(high)) == (float(x.min()), float(x.max()))
