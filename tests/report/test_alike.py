"""Names that differ only in their numbers, told once."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from supple.report._alike import alike, patterns
from supple.report._structure_page import cuts_text, elastic_groups, offered_text

parts = st.sampled_from(["layer1", "conv", "0", "1", "12", "weight[0]"])
names = st.lists(parts, min_size=1, max_size=4).map(".".join)


@given(st.lists(names, unique=True))
def test_every_name_is_in_one_group_and_matches_its_pattern(found):
    groups = alike(found, str, lambda _: None)
    assert sorted(name for group in groups for name in group.items) == sorted(found)
    for group in groups:
        assert len(group.items) > 1 or group.name == group.items[0]
        assert all(fnmatchcase(n, group.name.replace("[", "[[]")) for n in group.items)


def test_numbers_that_all_have_stay_and_what_must_be_the_same_divides():
    assert patterns(["a.0.b.1", "a.0.b.2", "c"]) == ["a.0.b.* (2 of them)", "c"]
    rows = [("x.0", 8), ("x.1", 8), ("x.2", 16)]
    groups = alike(rows, lambda row: row[0], lambda row: row[1])
    assert [(group.name, len(group.items)) for group in groups] == [("x.*", 2), ("x.2", 1)]


def test_choices_of_unlike_options_are_told_apart():
    row = {"kind": "width", "size": 8, "options": [4, 8], "params": 5, "members": ["m[0]"]}
    rows = [{**row, "name": "a.0"}, {**row, "name": "a.1"}, {**row, "name": "a.2", "options": [8]}]
    assert [group.name for group in elastic_groups(rows)] == ["a.*", "a.2"]


def test_short_words_for_options_and_members():
    assert offered_text([4, 8]) == "4, 8"
    assert offered_text([4, 8, 16, 24, 32]) == "4, 8, …, 32"
    assert cuts_text({"kind": "depth", "members": ["a", "b"]}) == "2 blocks"
    assert cuts_text({"kind": "kernel", "members": ["a"]}) == "1 window"
    assert cuts_text({"kind": "heads", "members": ["a"]}) == "1 dimension"
