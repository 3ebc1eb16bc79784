"""File size is what an export writes."""

import pytest
import torch
from torch import nn

from supple.elastic.export import export
from supple.errors import MeasureError
from supple.measure import FileSize


def test_weights_are_counted_to_the_byte(tmp_path):
    network, x = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), torch.randn(2, 4)
    report = export(network, tmp_path / "net.safetensors", x)
    size = (tmp_path / "net.safetensors").stat().st_size
    assert FileSize().measure(network).value == size == report.file_bytes
    numbers = 12 + 3 + 4 * 3
    assert size > 4 * numbers + 8  # and the int64 counter


def test_shared_weights_are_stored_once():
    one, two = nn.Linear(100, 100), nn.Linear(100, 100)
    two.weight = one.weight
    size = FileSize().measure(nn.Sequential(one, two)).value
    assert 4 * (10_000 + 200) < size < 4 * (10_000 + 200) + 1000


def test_onnx_is_within_its_notes_of_the_exported_file(tmp_path):
    pytest.importorskip("onnxruntime")
    network, x = nn.Linear(64, 64), torch.randn(2, 64)
    report = export(network, tmp_path / "net.onnx", x)
    size = FileSize(format="onnx", example=x).measure(network).value
    assert 4 * 65 * 64 < size <= report.file_bytes < size + 1000


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(MeasureError, match="without an example"):
        FileSize(format="onnx")
    with pytest.raises(MeasureError, match="'pt'"):
        FileSize(format="pt")
