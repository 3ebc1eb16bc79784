"""The machine record: complete, plain data."""

import json
import os
import platform

import torch

from supple.measure import machine


def test_it_holds_what_a_figure_needs():
    found = machine()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        "cpu", "cores", "memory_gb", "os", "python", "torch", "onnxruntime", "governor",
    }  # fmt: skip
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert 1 <= found["cores"] <= os.cpu_count()
    assert found["cpu"]
    assert found["memory_gb"] > 0
