"""Pages and figures: made of the evidence alone, well-formed, and true to the numbers."""

import re
import xml.etree.ElementTree as ET

import pytest

from supple.claims import Dots, Lines, page, run
from supple.claims._figure import dots_svg, lines_svg
from supple.claims._page import figure, finding_text
from tests.claims import fakes

SVG = "{http://www.w3.org/2000/svg}"


def shapes(text, kind):
    return ET.fromstring(text).findall(f"{SVG}{kind}")


def test_a_page_tells_claim_rules_values_and_circumstances():
    evidence = run(fakes.better)
    text = page(fakes.better, evidence)
    assert text.startswith("# fakes: reproduced\n\nPaper 86: [Random Search as a Baseline")
    assert "| score of a is higher than that of b by at least 0.5 | 2.99 (2.97 to 3.01) |" in text
    assert "| a | 3.01 (3 to 3.02) |" in text
    assert "| b | 0.02 (0 to 0.04) |" in text
    assert "`supple claims run fakes --quick`, 3 seeds" in text
    assert "Settings: 3." in text


def test_a_page_hides_no_failure():
    text = page(fakes.raises_once, run(fakes.raises_once))
    assert "**Seed 1 failed.** ZeroDivisionError" in text
    assert "6 (5 to 7), 1 failed" in text
    assert "no finite value in 2 of 3 seeds" in text


def test_curves_are_not_in_the_table():
    assert "curve" not in page(fakes.drawn, run(fakes.drawn)).partition("## How")[0]


def test_a_finding_reads_with_its_interval():
    evidence = run(fakes.better)
    assert finding_text(evidence.rules[0], evidence.findings[0]) == "2.99 (2.97 to 3.01)"


@pytest.mark.parametrize("log", [False, True])
def test_dots_stand_at_their_values(log):
    text = dots_svg(Dots(metric="m", log=log), {"a": [1.0, 2.0, 4.0], "b": [8.0]}, "alt <&>")
    dots = shapes(text, "circle")
    heights = [float(dot.get("cy")) for dot in dots]
    assert len(dots) == 4
    assert heights == sorted(heights, reverse=True)
    steps = [round(high - low, 1) for low, high in zip(heights[1:], heights, strict=False)]
    assert (
        max(steps) - min(steps) < 0.2 if log else steps[2] == pytest.approx(4 * steps[0], abs=0.3)
    )
    assert "alt &lt;&amp;&gt;" in text


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [float("nan")]}, {"a": [3.0]}])
def test_dots_of_little_or_nothing_are_drawn(values):
    text = dots_svg(Dots(metric="m"), values, "alt")
    assert len(shapes(text, "circle")) == (values == {"a": [3.0]})
    assert "nan" not in text


def test_a_line_is_the_mean_and_its_band_the_range():
    curves = {"a": [[(1.0, 0.0), (10.0, 2.0)], [(1.0, 2.0), (10.0, 4.0)]]}
    text = lines_svg(Lines(metric="m", x="n", log_x=True), curves, "alt")
    (line,), (band,) = shapes(text, "polyline"), shapes(text, "polygon")
    mean = points(line)
    corners = points(band)
    assert [x for x, _ in mean] == [x for x, _ in corners[:2]]
    for (_, y), (_, low), (_, high) in zip(mean, corners[:2], corners[:1:-1], strict=True):
        assert y == pytest.approx((low + high) / 2, abs=0.11)


def points(shape):
    return [tuple(map(float, pair.split(","))) for pair in shape.get("points").split()]


def test_every_figure_is_well_formed():
    for claim in (fakes.better, fakes.nan_once, fakes.raises_once):
        assert ET.fromstring(figure(claim, run(claim))).tag == f"{SVG}svg"


def test_numbers_of_the_axes_are_round():
    text = dots_svg(Dots(metric="m"), {"a": [0.8123, 0.9871]}, "alt")
    ticks = [t.text for t in shapes(text, "text") if re.fullmatch(r"[\d.]+", t.text)]
    assert {len(tick) for tick in ticks} <= {3, 4}
    assert len(ticks) >= 3
