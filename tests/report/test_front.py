"""The front's points, and both drawings of it."""

import itertools
import xml.etree.ElementTree as ET

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.report import Result
from supple.report._figure import COLOURS, front_figure
from supple.report._front import Point, _staircase, front_chart
from supple.report._objectives import Objective
from supple.report._svg import curve_svg, front_svg, ticks

COST = Objective(name="latency", label="latency", direction="min")
QUALITY = Objective(name="accuracy", label="accuracy", direction="max")


def test_every_finished_trial_is_a_point_in_percent_and_parts_of_the_baseline(data, result):
    chart = front_chart(result)
    points = {point.number: point for point in (*chart.trials, *chart.front)}
    finished = {t["number"]: t["values"] for t in data["trials"] if t["values"]}
    assert set(points) == set(finished)
    for number, values in finished.items():
        assert points[number].x == values["latency"]
        assert points[number].y == pytest.approx(100 * values["accuracy"])
    assert [p.number for p in chart.front] == sorted(
        data["front"], key=lambda n: finished[n]["latency"]
    )


def test_baseline_pick_and_bound_are_where_they_were_measured(data, result):
    chart = front_chart(result)
    assert (chart.baseline.x, chart.baseline.y) == (1.0, pytest.approx(99.31))
    assert (chart.pick.x, chart.pick.y) == (data["pick"]["latency_ratio"], pytest.approx(98.96))
    assert chart.picked_from.number == data["pick"]["trial"]
    assert chart.bound == 0.5
    assert chart.x_title == "latency relative to the baseline"
    assert chart.is_tuned


def test_absolute_values_put_the_baseline_at_its_own_latency(data):
    data["units"] = {"latency": "absolute"}
    chart = front_chart(Result.of(data))
    assert chart.baseline.x == data["baseline"]["latency_ms"]
    assert chart.pick.x == data["pick"]["latency_ms"]
    assert chart.bound == pytest.approx(0.5 * data["baseline"]["latency_ms"])
    assert chart.x_title == "latency (ms)"


def test_other_costs_are_parts_of_the_baselines_too(data):
    data["directions"] = {"accuracy": "max", "macs": "min"}
    for trial in data["trials"]:
        trial["values"] |= {"macs": 0.25} if trial["values"] else {}
    chart = front_chart(Result.of(data))
    assert chart.baseline.x == 1.0
    assert chart.pick.x == data["pick"]["macs"] / data["baseline"]["macs"]


def test_an_objective_of_the_users_own_is_known_from_the_values_alone(data):
    data["directions"] = {"accuracy": "max", "energy": "min"}
    for trial in data["trials"]:
        trial["values"] |= {"energy": 7.0} if trial["values"] else {}
    data["pick"]["values"] = {"energy": 6.0}
    chart = front_chart(Result.of(data))
    assert chart.baseline is None
    assert chart.pick.x == 6.0
    assert chart.x_title == "energy"


def test_one_objective_is_drawn_over_the_evaluations(data):
    data |= {"directions": {"accuracy": "max"}, "pick": None, "baseline": None}
    chart = front_chart(Result.of(data))
    assert chart.x_title == "evaluation"
    assert {point.x for point in chart.trials + chart.front} == {*range(60)} - {23}
    assert chart.line == ()


def test_trials_far_below_the_front_are_left_out_of_the_first_view_and_counted(data):
    data["trials"][4]["values"]["accuracy"] = 0.1
    chart = front_chart(Result.of(data))
    assert chart.y_range[0] > 50
    assert chart.below >= 1


@pytest.mark.parametrize("trials", [[], [0]])
def test_no_or_one_trial_can_be_drawn(data, trials):
    data |= {"trials": [data["trials"][n] for n in trials], "front": trials}
    data |= {"pick": None, "baseline": None, "cuts": [], "layers": []}
    chart = front_chart(Result.of(data))
    assert len(chart.points) == len(trials)
    go.Figure(resolved(front_figure(chart)))
    ET.fromstring(front_svg(chart, "a front"))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_staircase_is_what_no_other_point_beats(pairs):
    points = [Point(x=float(x), y=float(y)) for x, y in pairs]
    line = {(point.x, point.y) for point in _staircase(points, COST, QUALITY)}
    expected = {
        (x, y)
        for x, y in pairs
        if not any((a <= x and b >= y) and (a, b) != (x, y) for a, b in pairs)
    }
    assert line == expected


def resolved(value):
    """A figure with the page's colour names replaced by a colour."""
    if isinstance(value, str) and value.startswith("--"):
        assert value in COLOURS
        return "#123456"
    if isinstance(value, list):
        return [resolved(item) for item in value]
    return {k: resolved(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_plotly_accepts_every_attribute_of_the_figure(result):
    figure = go.Figure(resolved(front_figure(front_chart(result))))
    names = [trace.name for trace in figure.data]
    assert names == [
        "evaluated", "front", "front", "final training of the pick", "baseline", "pick"
    ]  # fmt: skip


def test_hover_says_the_values_and_the_structure(data, result):
    number = data["pick"]["trial"]
    point = next(p for p in front_chart(result).front if p.number == number)
    assert point.lines[:3] == (
        f"trial {number}, on the front",
        "94.6 % validation accuracy · 0.48 of the baseline's latency",
        "layer1: width 10/16, depth 2/3, 0.conv1 12/16, 1.conv1 10/16, 2.conv1 10/16",
    )


def test_only_large_counts_have_prefixes_on_their_axis(data, result):
    assert "tickformat" not in front_figure(front_chart(result))["layout"]["xaxis"]
    data |= {"directions": {"accuracy": "max", "macs": "min"}, "units": {"macs": "absolute"}}
    for trial in data["trials"]:
        trial["values"] |= {"macs": 2e6} if trial["values"] else {}
    figure = front_figure(front_chart(Result.of(data)))
    assert figure["layout"]["xaxis"]["tickformat"] == "~s"


def test_hover_text_holds_the_structure_and_no_markup_of_the_users_names(data):
    for trial in data["trials"]:
        trial["config"] = {"<b>evil</b>.width": trial["number"]}
    data["pick"]["config"] = data["trials"][0]["config"]
    figure = front_figure(front_chart(Result.of(data)))
    text = figure["data"][0]["hovertext"][0]
    assert text.startswith("<b>trial ")
    assert "&lt;b&gt;evil&lt;/b&gt;" in text
    assert text.count("<b>") == 1


def test_the_still_drawing_is_well_formed_and_shows_each_visible_point(result):
    chart = front_chart(result)
    root = ET.fromstring(front_svg(chart, 'a "front" & more'))
    assert root.get("aria-label") == 'a "front" & more'
    circles = [element.get("class") for element in root.iter() if element.tag.endswith("circle")]
    assert circles.count("on-front") == len(chart.front)
    assert circles.count("trial") == len(chart.trials) - chart.below
    names = [element.text for element in root.iter() if "name" in element.get("class", "")]
    assert names == ["baseline", "pick"]


def test_a_curve_holds_its_value_until_the_next_point():
    svg = curve_svg([(1, 0.0), (3, 1.0)], "n", "v", "a curve")
    path = next(e for e in ET.fromstring(svg).iter() if e.get("class") == "front-line").get("d")
    assert path.count("H") == path.count("V") == 1
    assert path.index("H") < path.index("V")


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_even_and_inside(low, height):
    found = ticks(low, low + height)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(found)}
    assert 2 <= len(found) <= 13
    assert max(steps) - min(steps) <= 1e-6 * max(1.0, max(steps))
    assert found[0] >= low - 1e-6 * height
    assert found[-1] <= low + height * (1 + 1e-6)
