"""What holds for every claim of supple; to measure them is for `supple claims run`."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from supple.claims import entries, entry, load, load_evidence
from supple.claims._page import index_page, page
from supple.errors import ClaimError
from supple.papers import catalogue, paper

NAMES = [one.name for one in entries()]
PAGES = Path(__file__).resolve().parents[2] / "docs" / "claims"
MEASURED = [one.name for one in entries() if load_evidence(one.name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_is_what_its_file_says(name):
    claim = load(name)
    assert (claim.name, claim.paper, claim.says) == (name, entry(name).paper, entry(name).says)
    assert paper(claim.paper) in catalogue()
    for text in (claim.says, claim.reported, claim.here):
        assert text == text.strip()
        assert text.endswith(".")
    assert claim.full_seeds >= 3
    assert type(claim.quick) is type(claim.full)
    assert claim.quick != claim.full


@pytest.mark.parametrize("name", MEASURED)
def test_evidence_is_of_this_claim_and_its_page_is_written(name):
    evidence, claim = load_evidence(name), load(name)
    assert (evidence.claim, evidence.paper) == (claim.name, claim.paper)
    assert evidence.seeds == claim.seeds(evidence.budget)
    assert (PAGES / f"{name}.md").read_text("utf-8") == page(claim, evidence)
    assert (PAGES / f"{name}.svg").is_file()


def test_the_table_of_all_claims_is_written():
    assert (PAGES / "README.md").read_text("utf-8") == index_page(), "supple claims pages"


def test_an_unknown_claim_names_near_misses():
    with pytest.raises(ClaimError, match="'sortednet'"):
        load("sorted-net")
    assert entry("SortedNet").name == "sortednet"


def test_the_example_of_how_to_write_a_claim_runs(monkeypatch):
    code = (PAGES / "writing.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    module = ModuleType("example_claim")
    monkeypatch.setitem(sys.modules, "example_claim", module)
    exec(compile(code, "writing.md", "exec"), vars(module))
    tiny = module.Settings(depth=2, epochs=1)
    arms = module.measure.measure(0, tiny)
    assert {*arms} == {"selu", "relu"}
    assert arms["selu"]["accuracy"] > 0.5
