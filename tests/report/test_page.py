"""The page: one file, complete, safe against what names may hold, readable without scripts."""

import re
from html.parser import HTMLParser

import pytest

from supple.report import Result, compare, render_report, write_report


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = ""
        self._inside = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(result):
    return Page(render_report(result))


def test_the_page_refers_to_nothing_outside_itself_and_forbids_to(page):
    for tag, attributes in page.elements:
        assert not {"src", "href", "srcset", "action"} & set(attributes), tag
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_styles_load_nothing(result):
    text = render_report(result)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_tells_the_whole_story(page, result, data):
    text = re.sub(r"\s+", " ", page.text.replace("\u00a0", " ").replace("\u2060", ""))
    for words in (
        "at 98.9 % instead of 99.2 % test accuracy",
        "the highest accuracy with a latency of at most 0.5 of the baseline's",
        "99.2 % [98.0–99.7]",
        "Dropped as a whole: layer1.2, layer2.2, layer3.2",
        "an output of the network",
        "Hypervolume",
        "AMD EPYC 7B13",
        "onnxruntime, 1 thread, batch 1",
        data["command"],
        "study.pick(latency=0.5)",
    ):
        assert words.lower() in text.lower(), words


def test_comparison_has_every_quantity_of_both_networks(result):
    rows = {row.key: (row.baseline, row.pick, row.change) for row in compare(result)}
    assert rows["macs"] == ("2.55 M", "813 k", "0.32")
    assert rows["params"] == ("272 k", "71.3 k", "0.26")
    assert rows["file_bytes"] == ("1.11 MB", "308 kB", "0.28")
    assert rows["peak_memory_bytes"] == ("1.39 MB", "481 kB", "0.35")
    assert rows["test_accuracy"] == ("99.2 %", "98.9 %", "−0.3 points")
    assert rows["latency_ms"][0] == "1.18 ms"


def test_tables_have_captions_and_scoped_headers(page):
    assert len(page.all("table")) == len(page.all("caption")) == 5
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    drawings = page.all("svg")
    assert len(drawings) == 2
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)


def test_warnings_stand_before_everything_but_the_headline(data):
    data["warnings"] = ["The latency of the pick is noisy."]
    text = render_report(Result.of(data))
    assert text.index("</h1>") < text.index("The latency of the pick is noisy.")
    assert text.index("The latency of the pick is noisy.") < text.index("What was asked")


def test_names_cannot_break_out_of_the_page(data):
    evil = "</script><script>alert(1)</script>"
    data["task"]["description"] = data["command"] = data["cuts"][0]["name"] = evil
    data["trials"][0]["config"] = data["pick"]["config"] = {evil: 3}
    text = render_report(Result.of(data))
    assert "<script>alert(1)" not in text
    assert text.count("</script>") == 3


def test_a_run_without_pick_is_reported_with_its_front(data):
    data |= {"pick": None, "cuts": [], "layers": [], "status": "no-candidate"}
    page = Page(render_report(Result.of(data)))
    assert "None of 59 sub-networks" in page.text
    assert "Baseline against pick" not in page.text
    assert "The front as a table" in page.text


def test_a_run_stopped_before_the_first_trial_is_reported(data):
    data |= {"pick": None, "baseline": None, "trials": [], "front": [], "hypervolume": None}
    data |= {"cuts": [], "layers": [], "status": "interrupted", "structure": {}, "machine": {}}
    page = Page(render_report(Result.of(data)))
    assert "The search was interrupted after 0 of 60 evaluations" in page.text
    assert page.all("script") == []


def test_a_task_without_options_is_reported(data):
    data["task"] = {"name": "my_task"}
    assert "supple report · my_task ·" in Page(render_report(Result.of(data))).text


def test_long_tables_start_folded(data):
    data["cuts"] = [data["cuts"][0] | {"name": f"c{n}"} for n in range(30)]
    folded = [a for a in Page(render_report(Result.of(data))).all("details") if "open" not in a]
    assert len(folded) == 3


def test_the_same_result_gives_the_same_file(result, tmp_path):
    first = write_report(result, tmp_path / "a" / "report.html")
    second = write_report(result, tmp_path / "b" / "report.html")
    assert first.read_bytes() == second.read_bytes()
