"""The report in a real browser: drawn, complete, fitting, silent on the network."""

import html
import json
import re

import pytest

from supple.report import Result, render_report
from tests.report.example_run import example_data
from tests.web._browser import needs_browser, open_page

pytestmark = needs_browser

# Looks at the page (shown in a frame) from outside, and leaves what it saw in an attribute.
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const page = document.querySelector("iframe").contentWindow;
  const found = {
    points: page.document.querySelectorAll(".scatterlayer path.point").length,
    labels: [...page.document.querySelectorAll(".textpoint")].map((e) => e.textContent),
    plot_width: page.document.querySelector(".plot .main-svg").getBoundingClientRect().width,
    still: page.getComputedStyle(page.document.querySelector(".still")).display,
    width: page.document.documentElement.scrollWidth,
    requests: page.performance.getEntriesByType("resource").map((e) => e.name),
    comparison: (({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(
      page.document.querySelector(".comparison").parentElement),
  };
  document.body.setAttribute("data-found", JSON.stringify(found));
}, 1500));
</script>
"""


def probe(folder, width):
    page = html.escape(render_report(Result.of(example_data())))
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>'
    file = folder / "probe.html"
    file.write_text(f"<!DOCTYPE html><body style='margin:0'>{frame}{PROBE}</body>", "utf-8")
    printed = open_page(file, folder / "profile", "--dump-dom", width=max(width, 600))
    return json.loads(html.unescape(re.search(r'data-found="([^"]*)"', printed)[1]))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_plot_is_drawn_and_fits_a_desk_and_a_phone(tmp_path, width):
    found = probe(tmp_path, width)
    # Every finished trial, the baseline and the pick.
    assert found["points"] == 59 + 2
    assert found["labels"] == ["baseline", "pick"]
    assert found["still"] == "none"
    assert found["width"] == width
    assert found["comparison"] == 0
    assert width / 2 < found["plot_width"] <= width
    assert found["requests"] == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_picture_of_the_page_shows_its_colours(tmp_path, scheme):
    file, picture = tmp_path / "report.html", tmp_path / "report.png"
    file.write_text(render_report(Result.of(example_data())), "utf-8")
    # The browser's numbers for what the reader prefers.
    prefers = {"dark": 0, "light": 1}[scheme]
    open_page(
        file,
        tmp_path / "profile",
        f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={prefers}",
    )
    pixels = pytest.importorskip("PIL.Image").open(picture).convert("RGB")
    colours = {colour: count for count, colour in pixels.getcolors(1 << 24)}
    assert max(colours, key=colours.get) == {"dark": (28, 31, 37), "light": (255, 255, 255)}[scheme]
    # The pick's star is drawn in the colour of the scheme, by plotly.
    star = {"dark": (79, 208, 165), "light": (10, 122, 90)}[scheme]
    assert colours.get(star, 0) > 50
