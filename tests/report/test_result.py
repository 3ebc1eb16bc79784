"""result.json: strict reading, exact round trips, files that are whole or not there."""

import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.errors import StudyError
from supple.report import Result
from tests.report.example_run import example_data


def test_what_is_saved_is_what_is_loaded_from_the_folder_and_from_the_file(result, tmp_path):
    file = result.save(tmp_path / "runs" / "digits")
    assert file.name == "result.json"
    assert Result.load(file) == result
    assert Result.load(file.parent) == result


def test_json_holds_the_same_plain_data_it_was_made_of(data, result):
    written = json.loads(result.to_json())
    assert written["pick"] == data["pick"]
    assert [trial["config"] for trial in written["trials"]] == [t["config"] for t in data["trials"]]
    assert written["schema"] == 1


@given(st.integers(min_value=0, max_value=10**400))
def test_a_space_of_any_size_survives_the_round_trip(size):
    result = Result.of(example_data() | {"space_size": str(size)})
    written = json.loads(result.to_json())["space_size"]
    # A number only where every reader of JSON keeps it exact.
    assert isinstance(written, int) == (size <= 2**53)
    assert Result.from_json(result.to_json()).space_size == size


def test_an_unknown_schema_version_is_refused_and_names_who_wrote_it(data):
    data |= {"schema": 2, "supple": "9.1"}
    with pytest.raises(StudyError, match="schema 2; this supple reads schema 1") as caught:
        Result.from_json(json.dumps(data), "runs/a/result.json")
    assert "supple 9.1" in caught.value.why


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"schema": true}', '{"schema": "1"}'])
def test_json_that_is_no_result_is_refused(text):
    with pytest.raises(StudyError, match="this supple reads schema 1"):
        Result.from_json(text)


def damage(data, path, value):
    *parents, last = path
    for key in parents:
        data = data[key]
    data[last] = value


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["pick", "latency_ms"], "0.5", "pick.latency_ms"),
        (["pick", "latency_ms"], -1.0, "pick.latency_ms"),
        (["pick", "latency_ratio_interval"], [0.5, 0.4], "pick.latency_ratio_interval"),
        (["pick", "noisy"], 1, "pick.noisy"),
        (["baseline", "params"], 1.5, "baseline.params"),
        (["baseline", "colour"], "red", "baseline.colour"),
        (["trials", 3, "config", "layer1.width"], None, "trials.3.config.layer1.width"),
        (["directions", "latency"], "down", "directions.latency"),
        (["created"], "yesterday", "created"),
        (["space_size"], "many", "space_size"),
    ],
)
def test_a_wrong_value_is_refused_and_its_place_is_named(data, path, value, place):
    damage(data, path, value)
    with pytest.raises(StudyError) as caught:
        Result.of(data)
    assert caught.value.data["place"].startswith(place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"front": [999]}, "trials that are not there"),
        ({"directions": {}}, "at least one objective"),
        ({"baseline": None}, "a pick needs a baseline"),
    ],
)
def test_references_that_lead_nowhere_are_refused(data, change, words):
    with pytest.raises(StudyError, match=words):
        Result.of(data | change)


def test_two_trials_of_one_number_are_refused(data):
    data["trials"][5]["number"] = 4
    with pytest.raises(StudyError, match="two trials have the same number"):
        Result.of(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused_everywhere(result, number):
    for old in ('"noisy":false', '"details":{}'):
        text = result.model_dump_json()
        assert old in text
        damaged = text.replace(old, old.partition(":")[0] + ":" + number, 1)
        with pytest.raises(StudyError, match="damaged"):
            Result.from_json(damaged)


def test_data_with_nan_is_refused_before_anything_is_written(data):
    data["trials"][0]["values"]["accuracy"] = float("nan")
    with pytest.raises(StudyError, match="cannot be written as JSON"):
        Result.of(data)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_was_cut_short_is_refused(result, tmp_path, share):
    file = result.save(tmp_path)
    text = file.read_text()
    file.write_text(text[: int(share * len(text))])
    with pytest.raises(StudyError, match="damaged"):
        Result.load(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "result.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot read"):
        Result.load(tmp_path)


def test_a_run_that_is_not_there_names_its_neighbours(result, tmp_path):
    result.save(tmp_path / "digits")
    with pytest.raises(StudyError, match="there is no run") as caught:
        Result.load(tmp_path / "digts")
    assert "did you mean 'digits'?" in caught.value.hint
    with pytest.raises(StudyError, match="is not a run") as caught:
        Result.load(tmp_path)
    assert "'digits'" in caught.value.hint


def test_a_run_that_is_not_finished_says_so(tmp_path):
    (tmp_path / "study.db").touch()
    with pytest.raises(StudyError, match="no result.json yet"):
        Result.load(tmp_path)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError, match="No space left on device"):
        result.model_copy(update={"supple": "2.0"}).save(tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_result_cannot_be_changed(result):
    with pytest.raises(ValueError, match="frozen"):
        result.supple = "2.0"
