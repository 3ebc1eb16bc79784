"""Latency: the two backends, comparing, and what is restored. Nothing here depends on speed."""

import sys

import pytest
import torch
from torch import nn

from supple.elastic import Elastic
from supple.errors import ExampleError, MeasureError, MissingExtraError
from supple.measure import Latency
from supple.measure import _onnxruntime_backend as onnxruntime_backend
from supple.measure import latency as latency_module
from supple.measure._timing import time_rounds


def quick(example, **settings):
    settings = {"rounds": 6, "warmup": 1, "block_ms": 0.01, "max_seconds": 0.2} | settings
    return Latency(example=example, **settings)


@pytest.fixture
def counted_time(monkeypatch):
    """The clock shows how many multiplications the networks have been asked for."""
    state = {"now": 0.0}

    class Work(nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.layer, self.seconds = nn.Linear(4, 4), seconds

        def forward(self, x):
            state["now"] += self.seconds
            return self.layer(x)

    def timed(runs, plan, judge, *, seed):
        return time_rounds(runs, plan, judge, seed=seed, clock=lambda: state["now"])

    monkeypatch.setattr(latency_module, "time_rounds", timed)
    return Work


def test_compare_is_the_ratio_of_work(counted_time):
    example = torch.randn(3, 4)
    found = Latency(example=example).compare(counted_time(0.002), counted_time(0.004))
    assert (found.ratio, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.network_ms == pytest.approx(2.0)
    assert found.baseline_ms == pytest.approx(4.0)
    assert found.baseline_ms_interval == pytest.approx((4.0, 4.0))
    assert (found.batch, found.threads, found.backend) == (3, 1, "torch")
    assert (found.rounds, found.noisy) == (30, False)
    assert found.to_dict()["ratio"] == found.ratio


def test_measure_is_in_milliseconds(counted_time):
    found = Latency(example=torch.randn(3, 4)).measure(counted_time(0.0125))
    assert (found.value, found.low, found.high) == pytest.approx((12.5, 12.5, 12.5))
    assert (found.unit, found.count, found.noisy) == ("ms", 30, False)
    assert found.details == {"backend": "torch", "threads": 1, "batch": 3}


def test_noise_that_does_not_end_is_said(counted_time):
    slow = iter([0.001, 0.003] * 10_000)
    network = counted_time(0.0)
    network.register_forward_pre_hook(lambda self, _: setattr(self, "seconds", next(slow)))
    found = Latency(example=torch.randn(1, 4), max_seconds=0.3, block_ms=0.1).measure(network)
    assert found.noisy
    assert found.low == pytest.approx(1.0)
    assert found.high == pytest.approx(3.0)


class Probe(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 4), set()

    def forward(self, x):
        self.seen.add((self.training, torch.is_grad_enabled(), torch.get_num_threads()))
        return self.layer(x)


def test_torch_runs_in_eval_mode_with_its_threads_and_restores_all():
    network, baseline = Probe().train(), Probe().eval()
    latency = quick(torch.randn(2, 4), threads=2)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    latency.compare(network, baseline)
    assert network.seen == baseline.seen == {(False, False, 2)}
    assert (network.training, baseline.training) == (True, False)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_torch_times_sub_networks_of_one_network():
    net = Elastic(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4)), (torch.ones(2, 4),))
    net.train()
    found = quick(torch.randn(2, 4)).compare(net.at(net.space.smallest), net.at(net.space.largest))
    assert found.rounds >= 6
    assert found.low <= found.ratio <= found.high
    assert net.training


class DictAttention(nn.Module):
    """Integer and keyword inputs, one of them unused, a dict as output."""

    def __init__(self):
        super().__init__()
        self.table, self.project = nn.Embedding(11, 8), nn.Linear(8, 24)

    def forward(self, ids, mask=None, unused=None):
        q, k, v = self.project(self.table(ids)).view(*ids.shape, 3, 2, 4).permute(2, 0, 3, 1, 4)
        keep = None if mask is None else mask[:, None, None, :].bool()
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        return {"out": out, "sum": ids.sum(1)}


def tokens(batch=2):
    generator = torch.Generator().manual_seed(0)
    return {
        "mask": torch.ones(batch, 6, dtype=torch.long),
        "ids": torch.randint(0, 11, (batch, 6), generator=generator),
        "unused": torch.zeros(batch, 1),
    }


@pytest.fixture
def recorders(monkeypatch):
    """Which recorders were asked for a graph."""
    asked, real = [], onnxruntime_backend.onnx_bytes

    def asking(network, example, *, recorder):
        asked.append(recorder)
        return real(network, example, recorder=recorder)

    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime_backend, "onnx_bytes", asking)
    return asked


def test_onnxruntime_records_each_network_once(recorders):
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    latency = quick(torch.randn(2, 3, 6, 6), backend="onnxruntime")
    baseline = latency.runner(conv.train())
    for _ in range(2):
        found = latency.compare(conv, baseline)
    assert recorders == ["torchscript"] * 3
    assert (found.backend, found.batch, found.threads) == ("onnxruntime", 2, 1)
    assert latency.measure(baseline).details["recorder"] == "torchscript"
    assert conv.training


def test_onnxruntime_takes_keyword_and_integer_inputs(recorders):
    assert quick(tokens(), backend="onnxruntime").measure(DictAttention()).value > 0
    assert recorders == ["torchscript"]


def test_onnxruntime_falls_back_to_the_other_recorder(recorders, monkeypatch):
    asking = onnxruntime_backend.onnx_bytes

    def failing(network, example, *, recorder):
        data = asking(network, example, recorder=recorder)
        return b"not a model" if recorder == "torchscript" else data

    monkeypatch.setattr(onnxruntime_backend, "onnx_bytes", failing)
    runner = quick(torch.randn(2, 4), backend="onnxruntime").runner(nn.Linear(4, 3))
    assert recorders == ["torchscript", "dynamo"]
    assert runner.details == {"recorder": "dynamo"}


def test_a_graph_that_is_not_the_network_is_not_timed(recorders):
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    with pytest.raises(MeasureError, match="could not be brought to ONNX Runtime") as caught:
        quick(torch.randn(2, 4), backend="onnxruntime").runner(Noisy())
    assert recorders == ["torchscript", "dynamo"]
    assert "differ by" in caught.value.why


def test_onnxruntime_needs_a_plain_module():
    pytest.importorskip("onnxruntime")
    net = Elastic(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4)), (torch.ones(2, 4),))
    with pytest.raises(MeasureError, match="no nn.Module"):
        quick(torch.ones(2, 4), backend="onnxruntime").measure(net.at(net.space.smallest))


def test_a_missing_package_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'supple\[onnx\]'"):
        quick(torch.randn(2, 4), backend="onnxruntime").runner(nn.Linear(4, 4))


def test_runners_that_do_not_match_are_refused():
    network = nn.Linear(4, 4)
    one, two = quick(torch.randn(2, 4)), quick(torch.randn(3, 4))
    with pytest.raises(MeasureError, match="differ in batch, 2 and 3"):
        one.compare_runners(one.runner(network), two.runner(network))


def test_an_example_that_does_not_fit_says_so():
    for backend in ("torch", "onnxruntime"):
        if backend == "onnxruntime":
            pytest.importorskip("onnxruntime")
        with pytest.raises(ExampleError, match="does not run on inputs like the example"):
            quick(torch.randn(2, 3), backend=backend).runner(nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backend": "onnx-runtime"}, "did you mean 'onnxruntime'"),
        ({"threads": 0}, "threads=0"),
        ({"rounds": 0}, "rounds=0"),
        ({"max_seconds": 0.0}, "max_seconds=0.0"),
        ({"noise_limit": float("nan")}, "noise_limit=nan"),
        ({"direction": "low"}, "direction 'low'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, says):
    with pytest.raises(MeasureError, match=says):
        Latency(example=torch.ones(1, 2), **settings)


def test_a_latency_is_a_value():
    assert Latency(example=torch.ones(1)) == Latency(example=torch.ones(2))
    assert len({Latency(example=torch.ones(1)), Latency(example=torch.ones(1), threads=2)}) == 2


def test_a_transformer_layer_is_recorded_by_the_fast_recorder_in_silence(recorders, capfd):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    quick(torch.randn(2, 5, 8), backend="onnxruntime").runner(layer)
    assert recorders == ["torchscript"]

    class Unknown(nn.Module):
        """The older recorder has no rule for this operator."""

        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(MeasureError, match="could not be brought"):
        quick(torch.randn(2, 5), backend="onnxruntime").runner(Unknown())
    assert capfd.readouterr() == ("", "")
