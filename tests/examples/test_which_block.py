"""The worked example: a search over block families on a table and on images, small."""

import importlib.util
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from supple.claims import match_width, parameters

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("which_block", ROOT / "examples/which_block.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["which_block"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["which_block"]


@pytest.fixture(scope="module")
def found(example):
    """Two seeds of the table, trained for one epoch; the second with two families only."""
    job = replace(example.JOBS[0], epochs=1)
    jobs = [job, two_families(job)]
    return [example.search(j, seed, evaluations=4, samples=32) for seed, j in enumerate(jobs)]


def two_families(job):
    """Quicker to open than all of them."""
    return replace(job, families={name: job.families[name] for name in ("maxmin", "kernel")})


def test_there_are_at_least_six_families_on_both_sets(example):
    assert [job.name for job in example.JOBS] == ["table", "images"]
    for job in example.JOBS:
        assert len(job.families) >= 6


def test_all_blocks_have_as_many_parameters_as_the_one_they_stand_in_for(example, found):
    starts = found[0].starts
    assert {fact.name for fact in starts} == set(example.JOBS[0].families)
    for fact in starts:
        assert fact.parameters == pytest.approx(fact.original_parameters, rel=0.1)
        assert fact.start == "fitted"
        assert 0 < fact.error < 1
    plain = parameters(example.image_network(example.JOBS[1].data(0))[1].block)
    for build in example.JOBS[1].families.values():
        width = match_width(build, plain, tolerance=0.1)
        assert parameters(build(width)) == pytest.approx(plain, rel=0.1)


def test_the_search_measures_whole_networks_and_the_plain_one_first(example, found):
    for one in found:
        trials = one.study.complete
        assert len(trials) == 4
        assert set(example.families_of(trials[0].config)) == {example.PLAIN}
        assert len({trial.config for trial in trials}) == 4
        assert all(0 < trial.values["test"] <= 1 for trial in trials)
        # 30 x 24 and 24 x 2 at the ends, two blocks of 2 x 24 x 48 between.
        assert trials[0].values["macs"] == 30 * 24 + 24 * 2 + 2 * 2 * 24 * 48


def test_any_strategy_searches_it(example):
    job = two_families(replace(example.JOBS[0], epochs=0.2))
    study = example.search(job, 0, evaluations=3, by="TPESampler", samples=8).study
    assert len(study.complete) == 3
    assert set(example.families_of(study.complete[0].config)) == {example.PLAIN}


def test_the_tables_and_the_picture_show_what_was_found(example, found):
    text = example.section(example.JOBS[0], found, "figure.svg")
    for seed, one in enumerate(found):
        pick = one.study.front[0]
        assert f"| {seed} | {len(one.study.front)} of 4 | {example.named(pick.config)} |" in text
    drawing = ET.fromstring(example.picture("A table", found))
    circles = [e for e in drawing.iter() if e.tag.endswith("circle")]
    assert len(circles) == 8 + sum(len(one.study.front) for one in found)
    paths = [e for e in drawing.iter() if e.tag.endswith("path") and e.get("class") != "grid"]
    assert len(paths) == 2, "one front for each seed"
    texts = [e.text for e in drawing.iter() if e.tag.endswith("text")]
    for one in found:
        assert all(
            any(t.startswith(example.named(c.config)) for t in texts) for c in one.study.front
        )


def test_the_page_is_brought_up_to_date_between_its_marks(example):
    page = (ROOT / "docs/blocks.md").read_text("utf-8")
    assert page.count(example.BEGIN) == page.count(example.END) == 1
    between = page.partition(example.BEGIN)[2].partition(example.END)[0]
    for job in example.JOBS:
        assert f"### {job.title}" in between
        assert f"(which_block_{job.name}.svg)" in between
        assert (ROOT / f"docs/which_block_{job.name}.svg").is_file()


def test_the_code_of_the_page_runs(capsys):
    page = (ROOT / "docs/blocks.md").read_text("utf-8")
    swap, own = (part.split("```")[0] for part in page.split("```python\n")[1:])
    exec(compile(swap, "blocks.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "('original', " in printed
    assert printed.count("relative error") == 3
    scope = {}
    exec(compile(own, "blocks.md", "exec"), scope)
    for check in scope["CASES"] and _checks(scope["CASES"]["gate"]):
        check()


def _checks(case):
    from supple.testing import block_checks

    return [*block_checks(case).values()]
