"""Evidence crosses JSON whole, and a file that lies is not believed."""

import json

import pytest

from supple.claims import load_evidence, run, store_evidence
from supple.claims._evidence import Evidence
from supple.errors import ClaimError
from tests.claims import fakes


def same(one, other):
    return one.to_json() == other.to_json()


@pytest.mark.parametrize("claim", [fakes.better, fakes.nan_once, fakes.raises_once, fakes.drawn])
def test_it_comes_back_whole(claim, tmp_path):
    found = run(claim)
    path = store_evidence(found, tmp_path)
    again = load_evidence("fakes", tmp_path)
    assert same(found, again)
    assert repr(again.values) == repr(found.values)
    assert again.findings == found.findings
    assert again.rules == found.rules
    assert [p.name for p in tmp_path.iterdir()] == [path.name] == ["fakes.quick.json"]


def test_the_file_is_plain_json_with_null_for_nan(tmp_path):
    text = run(fakes.nan_once).to_json()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["values"]["a"]["score"] == [5.0, None, 5.0]
    assert data["rules"][0]["sentence"] == "score of a is higher than that of b by at least 0.5"


def test_full_evidence_goes_before_quick(tmp_path):
    assert load_evidence("fakes", tmp_path) is None
    store_evidence(run(fakes.better), tmp_path)
    assert load_evidence("fakes", tmp_path).budget == "quick"
    store_evidence(run(fakes.better, budget="full"), tmp_path)
    assert load_evidence("fakes", tmp_path).budget == "full"


def broken(data, change):
    match change:
        case "verdict":
            data["verdict"] = "opposite"
        case "value":
            data["values"]["a"]["score"] = [0.0, 0.01, 0.02]
        case "seed":
            data["seeds"] = [0, 1]
        case "schema":
            data["schema"] = 0
        case "budget":
            data["budget"] = "huge"
        case "rule":
            data["rules"][0]["expects"] = "nothing"
        case "missing":
            del data["machine"]
    return json.dumps(data)


@pytest.mark.parametrize(
    "change", ["verdict", "value", "seed", "schema", "budget", "rule", "missing"]
)
def test_what_does_not_follow_is_refused(change):
    text = broken(json.loads(run(fakes.better).to_json()), change)
    with pytest.raises(ClaimError, match="is no evidence of this version"):
        Evidence.from_json(text, "x.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_what_is_no_evidence_is_refused(text):
    with pytest.raises(ClaimError, match=r"x\.json"):
        Evidence.from_json(text, "x.json")
