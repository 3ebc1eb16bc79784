"""Bounds as typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.cli._bounds import parse_bound, parse_bounds, parse_pairs


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("0.5", 0.5),
        (" .5 ", 0.5),
        ("1e-1", 0.1),
        ("50%", 0.5),
        ("98.5 %", 0.985),
        ("2ms", "2ms"),
        ("87 µs", "87 µs"),
        ("1.5GMACs", "1.5GMACs"),
    ],
)
def test_a_number_is_relative_and_a_unit_makes_it_absolute(text, bound):
    assert parse_bound("latency", text) == bound


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1", "0", "0ms", "nan", "inf", "1e999", "2 ms 3", "ms", "1,5", "0x10", "5_"],
)
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a bound of latency"):
        parse_bound("latency", text)


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_any_positive_number_is_read_as_itself(number):
    assert parse_bound("macs", repr(number)) == number


def test_several_bounds_may_be_joined_by_commas():
    assert parse_bounds(["latency=0.5, macs=2M", "size=1"]) == {
        "latency": 0.5,
        "macs": "2M",
        "size": 1.0,
    }


@pytest.mark.parametrize("text", ["latency", "=0.5", "latency=", "=", ""])
def test_a_pair_has_a_name_and_a_value(text):
    with pytest.raises(ValueError, match="name=value"):
        parse_pairs([text])


def test_a_value_may_hold_an_equals_sign():
    assert parse_pairs(["url=a=b"]) == [("url", "a=b")]
