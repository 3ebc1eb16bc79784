"""supple claims: run, keep, show and verify, with tiny claims in place of the real ones."""

import json
from pathlib import Path

import pytest

from supple.claims import Entry, _evidence, _registry, _status, fingerprint
from supple.cli import _claims
from tests.claims import fakes


@pytest.fixture
def room(monkeypatch, tmp_path):
    """One claim called ``fakes``; its evidence and pages go to a folder of this test."""
    claims = {"fakes": fakes.better}

    class Room:
        evidence = tmp_path / "evidence"
        docs = tmp_path / "docs"

        def becomes(self, claim):
            claims["fakes"] = claim

    entry = Entry(name="fakes", paper=86, says="A is better.", path=Path(fakes.__file__))
    for module in (_registry, _status):
        monkeypatch.setattr(module, "entries", lambda: (entry,))
    monkeypatch.setattr("supple.claims.entries", lambda: (entry,), raising=False)
    monkeypatch.setattr("supple.claims.load", lambda name: claims[entry_named(name)], raising=False)
    entry_named = lambda name: _registry.entry(name).name  # noqa: E731
    monkeypatch.setattr(_registry, "entry", lambda name: found(name, entry))
    monkeypatch.setattr(_status, "entry", lambda name: found(name, entry))
    for target in (_evidence, _claims):
        monkeypatch.setattr(target, "EVIDENCE", Room.evidence, raising=False)
    monkeypatch.setattr(_claims, "_checkout", lambda: None)
    return Room()


def found(name, entry):
    from supple.errors import ClaimError

    if name != entry.name:
        raise ClaimError(f"there is no claim '{name}'.")
    return entry


def test_a_run_prints_the_verdict_and_says_that_it_is_not_kept(supple, room):
    called = supple("claims", "run", "fakes")
    assert called.code == 0
    assert "fakes: reproduced" in called.out
    assert "Not kept" in called.out
    assert called.err.splitlines()[-1].startswith("3/3 fakes, seed 2")


def test_quiet_shows_no_progress(supple, room):
    assert supple("claims", "run", "fakes", "--quiet").err == ""


def test_a_run_with_out_is_kept(supple, room, tmp_path):
    supple("claims", "run", "fakes", "--full", "--out", tmp_path / "kept")
    kept = json.loads((tmp_path / "kept" / "fakes.full.json").read_text())
    assert (kept["budget"], kept["seeds"]) == ("full", [0, 1, 2, 3, 4])


def test_evidence_as_json(supple, room):
    data = json.loads(supple("claims", "run", "fakes", "--seeds", "2", "--json").out)
    assert data["evidence"][0]["seeds"] == [0, 1]


def test_a_failed_seed_is_shown(supple, room):
    room.becomes(fakes.raises_once)
    out = supple("claims", "run", "fakes").out
    assert "fakes: not decided" in out
    assert "seed 1 failed: ZeroDivisionError: the second seed" in out


def test_an_interrupted_run_keeps_nothing(supple, room, tmp_path):
    room.becomes(fakes.interrupted)
    called = supple("claims", "run", "fakes", "--out", tmp_path / "kept")
    assert called.code == 130
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [(("run", "nope"), 1), (("run", "fakes", "--quick", "--full"), 1),
     (("run", "fakes", "--jobs", "x"), 2), (("show", "nope"), 1)],
)  # fmt: skip
def test_what_cannot_be_is_explained(supple, room, words, code):
    assert supple("claims", *words).code == code


def measured(folder):
    """Evidence of the tiny claim in ``folder``, as it is now."""
    from supple.claims import run, store_evidence

    return store_evidence(run(fakes.better), folder)


@pytest.fixture
def kept(room, monkeypatch, tmp_path):
    """Evidence where the commands that read look for it."""
    real = _status.load_evidence
    monkeypatch.setattr(_status, "load_evidence", lambda name, folder: real(name, tmp_path))
    return measured(tmp_path)


def test_verify_says_what_is_missing(supple, room, tmp_path, monkeypatch):
    monkeypatch.setattr(_status, "load_evidence", lambda name, folder: None)
    called = supple("claims", "verify")
    assert called.code == 1
    assert "missing" in called.out


def test_verify_is_content_with_fresh_evidence(supple, kept):
    called = supple("claims", "verify")
    assert (called.code, called.out.split()[0]) == (0, "fresh")


def test_a_claim_that_cannot_be_measured_is_told_after_the_others(supple, room):
    room.becomes(fakes.raises_always)
    called = supple("claims", "run", "fakes", "fakes", "--quiet")
    assert called.code == 1
    assert called.err.count("no seed of the claim 'fakes' could be measured") == 1


def test_verify_names_what_has_changed(supple, kept, monkeypatch):
    now = {**fingerprint(Path(fakes.__file__)), "claim": "another"}
    monkeypatch.setattr(_status, "fingerprint", lambda path: now)
    called = supple("claims", "verify", "--json")
    row = json.loads(called.out)["claims"][0]
    assert called.code == 1
    assert (row["state"], row["changed"], row["verdict"]) == ("stale", ["claim"], "reproduced")
    assert "reproduced* " in supple("claims").out


def test_verify_does_not_believe_a_changed_verdict(supple, kept):
    kept.write_text(kept.read_text().replace('"verdict": "reproduced"', '"verdict": "opposite"', 1))
    called = supple("claims", "verify")
    assert called.code == 1
    assert "damaged" in called.out
    assert "its values say 'reproduced'" in called.out.replace("\n", " ")


def test_a_claim_is_shown_with_its_rules_and_evidence(supple, kept):
    out = supple("claims", "show", "fakes").out
    assert "The paper says: A is better." in out
    assert "score of a is higher than that of b by at least 0.5" in out
    assert "fakes: reproduced" in out
    data = json.loads(supple("claims", "show", "fakes", "--json").out)
    assert (data["verdict"], data["state"]) == ("reproduced", "fresh")
    assert data["evidence"]["seeds"] == [0, 1, 2]


def test_claims_alone_lists_them(supple, kept):
    rows = json.loads(supple("claims", "--json").out)["claims"]
    assert [(row["name"], row["budget"]) for row in rows] == [("fakes", "quick")]
    assert supple("claims", "list").out == supple("claims").out


def test_pages_are_written_where_it_says(supple, room, monkeypatch, tmp_path):
    evidence = _evidence.load_evidence
    measured(tmp_path / "evidence")
    for module in ("supple.claims._page", "supple.claims._status"):
        monkeypatch.setattr(f"{module}.entries", lambda: (_status.entry("fakes"),))
        monkeypatch.setattr(
            f"{module}.load_evidence", lambda name, *_: evidence(name, tmp_path / "evidence")
        )
    monkeypatch.setattr("supple.claims._page.load", lambda name: fakes.better)
    called = supple("claims", "pages", tmp_path / "pages")
    assert called.out.split() == [
        str(tmp_path / "pages" / name) for name in ("fakes.md", "fakes.svg", "README.md")
    ]
    assert "| [fakes](fakes.md) | 86." in (tmp_path / "pages" / "README.md").read_text()
    assert "**reproduced**" in (tmp_path / "pages" / "fakes.md").read_text()
