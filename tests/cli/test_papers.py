"""supple papers: the catalogue from a terminal."""

import json
import subprocess
import sys

import pytest

from supple.papers import catalogue, implementations


def test_all_papers_are_listed_for_programs(supple):
    rows = json.loads(supple("papers", "--json").out)["papers"]
    assert [row["id"] for row in rows] == list(range(1, 129))
    assert {"id", "slug", "title", "room", "implementations", "claims"} <= {*rows[0]}
    linas = rows[75]
    assert linas["slug"] == "linas"
    assert linas["implementations"] == [found.path for found in implementations(76)]
    assert linas["status"] == "implemented"
    assert [claim["name"] for claim in linas["claims"]] == ["linas"]
    assert {*linas["claims"][0]} == {"name", "verdict", "state"}
    assert rows[74]["claims"][0]["verdict"] == "reproduced"


def test_papers_of_a_room(supple):
    rows = json.loads(supple("papers", "--room", "ranking", "--json").out)["papers"]
    assert [row["id"] for row in rows] == [p.id for p in catalogue() if p.room == "ranking"]


def test_implemented_and_not_yet_are_all(supple):
    def ids(status):
        rows = json.loads(supple("papers", "--status", status, "--json").out)["papers"]
        return {row["id"] for row in rows}

    assert ids("implemented") | ids("not-yet") == set(range(1, 129))
    assert not ids("implemented") & ids("not-yet")
    assert {75, 76, 82, 86} <= ids("implemented")
    assert {75, 76} <= ids("claimed") <= ids("implemented")


def test_a_person_reads_a_table(supple):
    called = supple("papers", "--room", "elastic")
    assert "sortednet" in called.out
    (line,) = [line for line in called.out.splitlines() if " sortednet " in line]
    assert line.split()[:3] == ["75", "sortednet", "elastic"]
    assert line.split()[3:5] == ["1", "reproduced"]
    assert line.endswith("SortedNet: training many-in-one networks")
    assert called.out.splitlines()[-1].startswith("5 papers,")


def test_unknown_rooms_and_papers_name_near_misses(supple):
    assert "'ranking'" in supple("papers", "--room", "rankin").err
    called = supple("papers", "show", "lina")
    assert called.code == 1
    assert "'linas'" in called.err
    assert supple("papers", "--status", "done").code == 2


def test_a_paper_is_shown_with_idea_use_and_claim(supple):
    out = supple("papers", "show", "sortednet").out
    assert out.startswith("75. SortedNet: training many-in-one networks\n2024 · https://arxiv.org/")
    assert "Sub-networks are nested" in out
    assert "supple.elastic.training.SortedNet: Train" in out
    assert "Claim 'sortednet': One training" in out
    assert "share of the full accuracy of sorted is higher than that of 0.96: reproduced" in out
    assert supple("papers", "show", "75").out == out


def test_a_paper_that_is_not_implemented_says_so(supple):
    out = supple("papers", "show", "dita").out
    assert "Not implemented yet." in out
    assert "How to use it" not in out


@pytest.mark.parametrize("slug", ["sortednet", "linas", "instatune", "random-sparse"])
def test_how_to_use_it_runs_as_shown(supple, slug):
    code = json.loads(supple("papers", "show", slug, "--json").out)["example"]
    assert "\n" in code
    assert ">>>" not in code
    exec(compile(code, slug, "exec"), {})


def test_the_list_needs_no_torch():
    code = (
        "import sys\nfrom supple.cli import main\nmain(['papers', '--json'])\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
