"""An exported file is the network, or there is no file."""

import errno
import importlib.util
import json
import os
import resource
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from supple.elastic import Elastic
from supple.elastic._formats import _onnx, _placing
from supple.elastic._formats._compare import largest_difference
from supple.elastic._formats._pt2 import Pt2
from supple.elastic.export import export, read_weights
from supple.errors import ExampleError, ExportError, MissingExtraError

FORMATS = [".pt2", ".onnx", ".safetensors"]
HAS_ONNX = all(importlib.util.find_spec(p) for p in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(params=FORMATS)
def suffix(request):
    if request.param == ".onnx" and not HAS_ONNX:
        pytest.skip("the extra onnx is not installed")
    return request.param


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, 5)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.head(self.drop(F.relu(self.norm(self.stem(x))).mean((2, 3))))


class Encoder(nn.Module):
    """One transformer layer over token ids with a mask, called by keyword; gives a dict."""

    def __init__(self):
        super().__init__()
        self.table, self.qkv, self.out = nn.Embedding(17, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, ids, mask=None, scale=1.0):
        x = self.table(ids)
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, 2, 4).permute(2, 0, 3, 1, 4)
        keep = None if mask is None else mask[:, None, None, :].bool()
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, 8)) * scale
        return {"tokens": x + self.down(F.gelu(self.up(self.norm(x)))), "counts": mask.sum(1)}


def attention_case():
    """Time comes first and takes the batch's place; one tensor is query, key and value."""
    return nn.MultiheadAttention(8, 2), (torch.randn(3, 4, 8),) * 3


def layers_case():
    """In eval mode torch would run each of these layers as one fused operator."""
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)


class OneBatch(nn.Module):
    """Takes a batch of 2 only."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x).view(2, 3)


class Frozen(nn.Module):
    """Takes any batch in Python, but the graph records that of the example."""

    def forward(self, x):
        return x * int(x.shape[0] > 2) + x.new_tensor([float(len(x))])


def cnn_case():
    return Cnn(), (torch.randn(1, 3, 6, 6),)


def encoder_case():
    ids, mask = torch.randint(0, 17, (2, 6)), torch.ones(2, 6, dtype=torch.long)
    return Encoder(), {"mask": mask, "ids": ids, "scale": 0.5}


@pytest.mark.parametrize("case", [cnn_case, encoder_case, attention_case, layers_case])
def test_the_file_is_the_network_at_every_batch_size(tmp_path, suffix, case):
    network, example = case()
    network.train()
    report = export(network, tmp_path / f"net{suffix}", example, check_batches=(1, 2, 5))
    assert set(report.batches) >= {1, 2, 5}
    assert report.any_batch
    assert report.largest_difference < 1e-6
    assert report.notes == ()
    assert report.file_bytes == (tmp_path / f"net{suffix}").stat().st_size
    assert all(part.training for part in network.modules())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in report.files)


def test_others_can_read_the_pt2_file(tmp_path):
    network, example = cnn_case()
    export(network, tmp_path / "net.pt2", example, config={"width": 8}, metadata={"task": "toy"})
    extra = {"supple.json": ""}
    loaded = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module()
    x = torch.randn(7, 3, 6, 6)
    assert torch.allclose(loaded(x), network.eval()(x), atol=1e-6)
    stored = json.loads(extra["supple.json"])
    assert (stored["config"], stored["metadata"]) == ({"width": 8}, {"task": "toy"})


@pytest.mark.skipif(not HAS_ONNX, reason="the extra onnx is not installed")
def test_others_can_read_the_onnx_file(tmp_path):
    import onnx
    import onnxruntime

    network, example = encoder_case()
    path = tmp_path / "net.onnx"
    export(network, path, example, config={"width": 8})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: json.loads(entry.value) for entry in model.metadata_props}["supple"][
        "config"
    ] == {"width": 8}
    assert {"table.weight", "qkv.bias"} <= {one.name for one in model.graph.initializer}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(entry.name, entry.shape) for entry in session.get_inputs()] == [
        ("ids", ["batch", 6]),
        ("mask", ["batch", 6]),
    ]
    ids, mask = torch.randint(0, 17, (4, 6)), torch.ones(4, 6, dtype=torch.long)
    tokens, counts = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
    expected = network.eval()(ids, mask, 0.5)
    assert np.allclose(tokens, expected["tokens"].detach(), atol=1e-5)
    assert np.array_equal(counts, expected["counts"])


@pytest.mark.skipif(not HAS_ONNX, reason="the extra onnx is not installed")
def test_a_network_too_large_for_one_onnx_file_keeps_its_weights_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx, "LARGEST_BYTES", 1000)
    network = nn.Linear(64, 64)
    report = export(network, tmp_path / "net.onnx", torch.randn(2, 64))
    assert [path.name for path in report.files] == ["net.onnx", "net.onnx.data"]
    assert report.largest_difference < 1e-6
    assert (tmp_path / "net.onnx.data").stat().st_size >= 4 * 64 * 64


def test_weights_and_their_sidecar_rebuild_the_network(tmp_path):
    network, example = cnn_case()
    path = tmp_path / "deep" / "net.safetensors"
    report = export(network, path, example, config={"w": 8}, metadata={"spec": ["conv", 8]})
    assert [file.name for file in report.files] == ["net.safetensors", "net.json"]
    weights = read_weights(path)
    assert weights.sidecar["config"] == {"w": 8}
    assert weights.sidecar["metadata"] == {"spec": ["conv", 8]}
    assert weights.sidecar["tensors"]["stem.weight"] == {"dtype": "float32", "shape": [8, 3, 3, 3]}
    twin = Cnn()
    twin.load_state_dict(weights.state)
    x = torch.randn(4, 3, 6, 6)
    assert torch.equal(twin.eval()(x), network.eval()(x))


def test_shared_and_overlapping_weights_survive(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.head.weight = self.table.weight
            whole = torch.randn(10)
            self.register_buffer("left", whole[:6])
            self.register_buffer("right", whole[4:])

        def forward(self, ids):
            return self.head(self.table(ids)) + self.left.sum() + self.right.sum()

    network = Tied()
    report = export(network, tmp_path / "net.safetensors", torch.arange(8).view(2, 4))
    assert report.file_bytes < 4 * (36 + 12) + 600
    (tmp_path / "net.json").unlink()
    state = read_weights(tmp_path / "net.safetensors").state
    assert set(state) == set(network.state_dict())
    assert all(torch.equal(state[name], t) for name, t in network.state_dict().items())


@pytest.mark.parametrize("damage", ["truncated", "changed", "header", "empty"])
def test_a_damaged_weights_file_is_refused(tmp_path, damage):
    path = tmp_path / "net.safetensors"
    export(nn.Linear(30, 30), path, torch.randn(2, 30))
    data = bytearray(path.read_bytes())
    if damage == "changed":
        data[-5] ^= 1
    damaged = {"truncated": data[:-100], "changed": data, "header": data[:20], "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(ExportError, match=r"net.safetensors' is damaged"):
        read_weights(path)


def test_a_missing_weights_file_is_said(tmp_path):
    with pytest.raises(ExportError, match="There is no weights file"):
        read_weights(tmp_path / "none.safetensors")


def test_a_network_of_one_batch_size_is_exported_for_it(tmp_path, suffix):
    report = export(OneBatch(), tmp_path / f"net{suffix}", torch.randn(2, 4))
    assert report.batches == (2,)
    assert not report.any_batch
    assert "does not take batch 1" in report.notes[0]
    assert "does not take batch 5" in report.notes[1]


def test_a_graph_bound_to_its_batch_is_said_and_still_right(tmp_path):
    report = export(Frozen(), tmp_path / "net.pt2", torch.randn(3, 4))
    assert (report.batches, report.any_batch) == ((3,), False)
    assert "takes batch 3 only" in report.notes[0]
    assert "takes batch 3 only" in str(report)


def test_an_extracted_network_is_exported(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1))
    net = Elastic(model, (torch.randn(2, 3, 6, 6),))
    config = net.space.smallest
    report = export(
        net.extract(config), tmp_path / "net.pt2", torch.randn(1, 3, 6, 6), config=config
    )
    assert report.any_batch
    with pytest.raises(ExportError, match="SubNetwork cannot be exported") as caught:
        export(net.at(config), tmp_path / "other.pt2", torch.randn(1, 3, 6, 6))
    assert "net.extract" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]


def test_double_precision_is_compared_in_double_precision(tmp_path, suffix):
    network, x = nn.Sequential(nn.Linear(6, 9), nn.Tanh()).double(), torch.randn(2, 6).double()
    assert export(network, tmp_path / f"net{suffix}", x).largest_difference < 1e-12


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_a_file_that_is_not_the_network_is_removed_and_the_gap_told(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_text("older")
    with pytest.raises(ExportError, match=r"is not the network: it differs by 0\.\d+ at") as caught:
        export(Noisy(), path, torch.zeros(2, 3))
    assert 1e-4 < caught.value.data["difference"] <= 1
    assert "output" in caught.value.why
    assert " against " in caught.value.why
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_value_at_one_batch_size_only_is_found(tmp_path, monkeypatch):
    real = Pt2.load

    def off_at_five(self, path, network):
        loaded = real(self, path, network)

        def run(inputs):
            out = loaded(inputs).clone()
            if len(out) == 5:
                out[3, 1] += 0.25
            return out

        return run

    monkeypatch.setattr(Pt2, "load", off_at_five)
    layer = nn.Linear(4, 3)
    with pytest.raises(ExportError, match=r"differs by 0.25 at batch 5") as caught:
        export(layer, tmp_path / "net.pt2", torch.rand(2, 4) * 0.1)
    assert "[3, 1]" in caught.value.why
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [("net.safetensor", "'.safetensors'"), ("net.onx", "'.onnx'"), ("net.pt", "'.pt2'"),
     ("net", "known are"), ("net.tflite", "known are")],
)  # fmt: skip
def test_an_unknown_suffix_lists_the_known_ones(tmp_path, name, hint):
    with pytest.raises(ExportError, match="is unknown") as caught:
        export(nn.Linear(2, 2), tmp_path / name, torch.ones(1, 2))
    assert hint in caught.value.hint
    assert ".onnx, .pt2, .safetensors" in caught.value.why


def test_a_full_disk_leaves_nothing(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"net{suffix}"

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_placing.os, "fsync", full)
    with pytest.raises(ExportError, match="No space left on device") as caught:
        export(nn.Linear(4, 4), path, torch.ones(2, 4))
    assert caught.value.data["errno"] == errno.ENOSPC
    assert "free some space" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_write_the_system_stops_half_way_leaves_nothing(tmp_path, suffix):
    """The system's own limit on file sizes: the first 100 kB are written, the rest is refused."""
    network = nn.Linear(256, 256)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ExportError, match="File too large"):
            export(network, tmp_path / f"net{suffix}", torch.ones(2, 256))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="could not be written"):
        export(nn.Linear(2, 2), tmp_path / "file" / "net.pt2", torch.ones(1, 2))
    (tmp_path / "net.pt2").mkdir()
    with pytest.raises(ExportError, match="is a folder"):
        export(nn.Linear(2, 2), tmp_path / "net.pt2", torch.ones(1, 2))


def test_missing_onnx_names_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'supple\[onnx\]'"):
        export(nn.Linear(2, 2), tmp_path / "net.onnx", torch.ones(1, 2))


class Branching(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        return -x


def test_a_network_that_cannot_be_recorded_names_its_line(tmp_path):
    with pytest.raises(ExportError, match=r"cannot be recorded for 'net.pt2'") as caught:
        export(Branching(), tmp_path / "net.pt2", torch.ones(2, 2))
    assert "test_export.py" in caught.value.why
    assert "x.sum() > 0" in caught.value.why
    assert ".safetensors" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path):
    path, layer, x = tmp_path / "net.pt2", nn.Linear(2, 2), torch.ones(1, 2)
    with pytest.raises(ExportError, match="not JSON"):
        export(layer, path, x, metadata={"a": float("nan")})
    with pytest.raises(ExportError, match="not JSON"):
        export(layer, path, x, config={"a": torch.ones(1)})
    with pytest.raises(ExportError, match="below 1"):
        export(layer, path, x, check_batches=(0, 1))
    with pytest.raises(ExampleError, match="does not run on the example"):
        export(layer, path, torch.ones(1, 3))
    assert list(tmp_path.iterdir()) == []


def test_differences_are_relative_to_large_outputs_and_see_nan_and_shape():
    big = torch.tensor([1000.0, 0.0])
    assert largest_difference(big + 1, big).size == pytest.approx(1e-3)
    small = torch.tensor([0.1, 0.2])
    assert largest_difference(small + 0.1, small).size == pytest.approx(0.1)
    odd = torch.tensor([float("nan"), float("inf"), 1.0])
    assert largest_difference(odd, odd.clone()).size == 0
    assert largest_difference(torch.tensor([1.0, float("inf"), 1.0]), odd).size == float("inf")
    assert largest_difference(torch.ones(2), torch.ones(2, 1)).size == float("inf")
    assert largest_difference([small], [small, small]).size == float("inf")
    pair = {"a": small, "b": small}
    found = largest_difference({"a": small, "b": small + torch.tensor([0.0, 0.5])}, pair)
    assert found.size == pytest.approx(0.5)
    assert found.where.startswith("output['b'] at [1]")
    waves = torch.tensor([1 + 1j])
    assert largest_difference(waves + 0.5j, waves).size == pytest.approx(0.5)
