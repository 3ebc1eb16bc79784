"""supple report: the elastic structure of a task's model, or of one in a file."""

import json
import re
import textwrap
from xml.etree import ElementTree

import pytest

from supple.report import fixed_groups, render_structure
from supple.report._layers_svg import layers_svg
from tests.web._browser import needs_browser, open_page

FILE = """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(12, 24), nn.Linear(24, 12)

        def forward(self, x):
            return x + self.down(self.up(x).relu())

    def model(depth=3):
        blocks = [Block() for _ in range(depth)]
        return nn.Sequential(nn.Linear(5, 12), nn.Sequential(*blocks), nn.Linear(12, 2))

    def example():
        return torch.zeros(2, 5)

    ready = model()
    number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_model.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.fixture
def found(supple, file):
    called = supple("report", file, "--json")
    assert called.code == 0, called.err
    return json.loads(called.out)


def test_a_file_with_model_and_example_is_enough(found):
    assert (found["model"], found["class"]) == ("my_model", "Sequential")
    assert [row["name"] for row in found["elastic"]][:2] == ["1.depth", "0.width"]
    params = 5 * 12 + 12 + 3 * (12 * 24 + 24 + 24 * 12 + 12) + 12 * 2 + 2
    assert (found["params"], found["elastic_params"]) == (params, params - 2)
    assert found["macs"] == found["elastic_macs"] == 5 * 12 + 3 * 2 * 12 * 24 + 12 * 2


def test_people_get_a_table_with_every_reason(supple, file):
    out = supple("report", file).out
    assert "my_model (Sequential): 5 choices" in out
    for words in ("1.depth", "0.width", "is an output of the model", "the model's own classes"):
        assert words in out
    row = next(line for line in out.splitlines() if "1.*.up.width" in line)
    assert re.search(r"3×\s+width\s+\d+–24\s+600\s+3 dimensions", row)


@pytest.mark.parametrize("name", ["model", "ready"])
def test_an_object_of_the_file_may_be_the_model(supple, file, name):
    data = json.loads(supple("report", f"{file}:{name}", "--json").out)
    assert (data["model"], len(data["elastic"])) == (name, 5)


def test_options_go_to_the_model(supple, file):
    data = json.loads(supple("report", file, "--option", "depth=2", "--json").out)
    assert len(data["elastic"]) == 4


def test_a_built_in_task_works_by_name(supple):
    data = json.loads(supple("report", "digits", "--json").out)
    assert (data["model"], bool(data["elastic"])) == ("digits", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "no task 'nothing'"),
        (("{}:missing",), "no object 'missing'"),
        (("{}:number",), "no 'model'"),
        (("{}", "--option", "wide=3"), "wide"),
    ],
)
def test_what_cannot_be_reported_is_told(supple, file, words, said):
    called = supple("report", *(word.format(file) for word in words))
    assert called.code != 0
    assert said in called.err
    assert "Traceback" not in called.err


def test_a_file_without_an_example_says_what_is_missing(supple, tmp_path):
    path = tmp_path / "half.py"
    path.write_text("import torch\ndef model():\n    return torch.nn.Linear(2, 2)\n")
    called = supple("report", path)
    assert "'half.py' has no 'example'" in called.err
    assert "def example()" in called.err


# -- the page -----------------------------------------------------------------------------------
def test_the_page_is_written_whole_and_asks_nothing_of_the_network(supple, file, tmp_path, found):
    page = tmp_path / "out" / "report.html"
    assert supple("report", file, "--out", page).code == 0
    text = page.read_text()
    assert render_structure(found, "my_model") == text
    assert "<code>1.*.up.width</code>" in text
    assert "With about half of every choice, the model&#39;s own classes" in text
    assert not re.search(r'(src|href)="', text)
    for row in found["elastic"]:
        assert f"<code>{row['name']}</code>" in text
    for row in found["fixed"]:
        assert row["name"] in text


def test_the_drawing_has_a_row_a_layer_and_an_arc_a_block(found):
    svg = layers_svg(found["layers"], "a <network>")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "a <network>"
    rows = root.findall("g")
    names = [g.find("title").text.partition(":")[0] for g in rows if g.get("class") != "skip"]
    assert names == [layer["name"] for layer in found["layers"]]
    assert sum(g.get("class") == "skip" for g in rows) == 3
    bars = {kind: root.findall(f".//rect[@class='{kind}']") for kind in ("stays", "fixed-bar")}
    assert (len(bars["stays"]), len(bars["fixed-bar"])) == (7, 1)
    widths = [float(bar.get("width")) for bar in root.findall(".//rect[@class='may-go']")]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)  # 24 features beside 12


def test_names_from_a_file_cannot_end_the_page():
    layer = {
        "name": "</svg><script>", "operator": "linear", "width": 4, "least": 2, "params": 1,
        "choices": ["<b>"], "reason": "", "block": "", "macs": 0,
    }  # fmt: skip
    assert "<script>" not in layers_svg([layer], "<alt>")


def test_fixed_dimensions_with_one_reason_are_told_together():
    row = {"size": 3, "operator": "conv2d", "reason": "is space", "where": "/home/me/a/net.py:3: y"}
    rows = [{**row, "name": "a[2]"}, {**row, "name": "a[3]"}, {**row, "name": "b", "where": ""}]
    first, second = fixed_groups(rows)
    assert (first["names"], first["where"]) == (["a[2] of 3", "a[3] of 3"], "a/net.py:3: y")
    assert second["names"] == ["b of 3"]


@pytest.mark.slow
@needs_browser
def test_a_browser_shows_the_page(supple, file, tmp_path):
    page = tmp_path / "report.html"
    supple("report", file, "--out", page)
    shown = open_page(page, tmp_path / "profile", "--dump-dom")
    assert "What can vary" in shown
    assert "<rect" in shown
