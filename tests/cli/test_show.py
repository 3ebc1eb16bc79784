"""supple show: a tidy summary for people, one JSON object for programs."""

import json
import math

import pytest

from supple.report import Result
from tests.report.example_run import example_data


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_json_has_baseline_and_pick_in_plain_numbers(supple, run):
    called = supple("show", run, "--json")
    assert (called.code, called.err) == (0, "")
    shown, data = json.loads(called.out), example_data()
    for network in ("baseline", "pick"):
        for key in ("test_accuracy", "latency_ms", "macs", "params", "file_bytes"):
            assert shown[network][key] == data[network][key]
    assert shown["pick"]["latency_ratio"] == data["pick"]["latency_ratio"]
    assert shown["pick"]["latency_ratio_interval"] == data["pick"]["latency_ratio_interval"]
    assert [candidate["number"] for candidate in shown["front"]] == data["front"]
    assert (shown["schema"], shown["evaluations"]) == (1, 59)
    assert shown["files"]["report.html"] == str(run / "report.html")
    assert all(map(math.isfinite, numbers(shown)))


def test_the_summary_holds_the_comparison_and_the_way_to_the_report(supple, run):
    called = supple("show", run)
    lines = [" ".join(line.split()) for line in called.out.splitlines()]
    assert "test accuracy 99.2 % [98.0–99.7] 98.9 % [97.6–99.5] −0.3 points" in lines
    assert "parameters 272 k 71.3 k 0.26" in lines
    assert "layer1.width width 10 of 16" in lines
    assert "Dropped as a whole: layer1.2, layer2.2, layer3.2" in lines
    assert any(line.startswith("Report:") and line.endswith("report.html") for line in lines)


def test_the_file_itself_can_be_shown(supple, run):
    assert supple("show", run / "result.json").out == supple("show", run).out


def test_warnings_come_first(supple, run):
    Result.of(example_data() | {"warnings": ["Too noisy."]}).save(run)
    out = supple("show", run).out
    assert out.index("! Too noisy.") < out.index("Wanted")


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_a_run_without_pick_can_be_shown(supple, run, json_option):
    empty = {"pick": None, "baseline": None, "cuts": [], "layers": [], "hypervolume": None}
    Result.of(example_data() | empty | {"status": "interrupted"}).save(run)
    called = supple("show", run, *json_option)
    assert called.code == 0
    assert ('"pick": null' if json_option else "The search was interrupted") in called.out


def test_a_run_that_is_not_there_is_an_error_with_its_near_miss(supple, run):
    called = supple("show", run.parent / "digts")
    assert called.code == 1
    assert "did you mean 'digits'?" in called.err
