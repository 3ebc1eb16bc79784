"""supple doctor: what it finds, what it advises."""

import json

import pytest

from supple.cli import _checks, _pipeline
from supple.errors import MeasureError
from supple.measure._multiples import MultipleRatio


def ratios(half_width=0.01, **found):
    rows = ((*name.split("_"), value) for name, value in found.items())
    return [
        MultipleRatio(
            layer=layer, multiple=int(multiple), ratio=value, low=value - half_width,
            high=value + half_width,
        )
        for layer, multiple, value in rows
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    monkeypatch.setattr(_pipeline, "self_comparison", lambda: (1.001, 0.99, 1.01))
    monkeypatch.setattr(_pipeline, "multiples", lambda: ratios(conv_8=1.1, linear_8=1.0))
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.delenv("SUPPLE_DATA", raising=False)


def checks(supple):
    called = supple("doctor", "--json")
    found = json.loads(called.out)
    return called.code, found["ok"], {check["name"]: check for check in found["checks"]}


def test_a_good_machine_passes(supple):
    code, is_fit, found = checks(supple)
    assert (code, is_fit) == (0, True)
    assert {"python", "torch", "extra onnx", "disk", "timer", "noise", "SUPPLE_DATA"} <= set(found)
    assert found["timer"]["values"]["step_ns"] > 0
    assert found["noise"]["values"] == {"ratio": 1.001, "low": 0.99, "high": 1.01}


def test_the_same_is_printed_for_people(supple):
    out = supple("doctor").out
    assert "✓ python" in out
    assert "1.001 [0.990–1.010]" in out


def test_without_torch_the_machine_is_not_fit(supple, monkeypatch):
    monkeypatch.setattr(_checks.importlib.util, "find_spec", lambda name: None)
    code, is_fit, found = checks(supple)
    assert (code, is_fit) == (1, False)
    assert found["torch"]["hint"].startswith("pip install")
    assert "noise" not in found
    assert "multiples" not in found


def test_a_missing_extra_names_its_pip_line(supple, monkeypatch):
    extras = {"onnx": ("numpy", "no-such-package")}
    monkeypatch.setattr(_checks, "_declared_extras", lambda: extras)
    _, is_fit, found = checks(supple)
    assert is_fit
    assert found["extra onnx"]["hint"] == "pip install 'supple[onnx]'"
    assert found["extra onnx"]["found"].endswith("missing: no-such-package")


def test_extras_are_read_from_the_package(monkeypatch):
    lines = [
        "torch>=2.13",
        'onnx>=1.20; extra == "onnx"',
        'onnxscript>=0.7 ; python_version > "3" and extra == "onnx"',
        "pytest>=9; extra == 'test'",
    ]
    monkeypatch.setattr(_checks.metadata, "requires", lambda name: lines)
    assert _checks._declared_extras() == {"onnx": ("onnx", "onnxscript")}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("load", lambda m: m.setattr("os.getloadavg", lambda: (1e3, 0.0, 0.0))),
        ("noise", lambda m: m.setattr(_pipeline, "self_comparison", lambda: (1.0, 0.8, 1.2))),
        ("SUPPLE_DATA", lambda m: m.setenv("SUPPLE_DATA", "/nowhere")),
        ("disk", lambda m: m.setattr(_checks, "_LEAST_DISK_GB", 1e9)),
        ("timer", lambda m: m.setattr(_checks, "_COARSEST_TIMER_NS", 0)),
    ],
)
def test_what_spoils_a_measurement_is_noted_with_advice(supple, monkeypatch, name, change):
    change(monkeypatch)
    code, is_fit, found = checks(supple)
    assert (code, is_fit) == (0, True)
    assert found[name]["state"] == "note"
    assert found[name]["hint"]


def test_a_measurement_that_fails_is_told(supple, monkeypatch):
    def fails():
        raise MeasureError("the clock stands still.", hint="wait")

    monkeypatch.setattr(_pipeline, "self_comparison", fails)
    assert checks(supple)[2]["noise"]["found"] == "the clock stands still."


def test_the_multiple_that_pays_is_recommended(supple):
    found = checks(supple)[2]["multiples"]
    assert found["hint"].endswith("Elasticity(multiple_of=8)")
    assert found["values"]["conv_8"] == 1.1
    assert found["values"]["recommended"] == 8
    out = supple("doctor").out
    assert "8: 1.10 [1.09–1.11]*" in out
    assert "8: 1.00 [0.99–1.01]\n" in out


def test_what_is_within_the_noise_is_not_recommended(supple, monkeypatch):
    noisy = ratios(0.2, conv_8=1.15, linear_16=1.1)
    monkeypatch.setattr(_pipeline, "multiples", lambda: noisy)
    found = checks(supple)[2]["multiples"]
    assert found["hint"] == ""
    assert "recommended" not in found["values"]
    assert "no difference" in found["found"]
