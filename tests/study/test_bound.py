"""Bounds as users write them."""

import pytest

from supple.errors import StudyError
from supple.study import Bound, parse_bound


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        (0.5, 0.5, ""),
        (3, 3.0, ""),
        ("0.5", 0.5, ""),
        (" .5 ", 0.5, ""),
        ("50%", 0.5, ""),
        ("0.5x", 0.5, ""),
        ("2ms", 2.0, "ms"),
        ("2 ms", 2.0, "ms"),
        ("1.5s", 1500.0, "ms"),
        ("300us", 0.3, "ms"),
        ("300µs", 0.3, "ms"),
        ("5M", 5e6, "count"),
        ("5k", 5e3, "count"),
        ("1.5GMACs", 1.5e9, "count"),
        ("1.5 GFLOPs", 1.5e9, "count"),
        ("5Mparams", 5e6, "count"),
        ("120 MACs", 120.0, "count"),
        ("300KB", 3e5, "bytes"),
        ("2MiB", 2 * 2**20, "bytes"),
        ("12B", 12.0, "bytes"),
        ("1e3", 1000.0, ""),
        ("2e-1ms", 0.2, "ms"),
    ],
)
def test_numbers_with_and_without_units(text, value, unit):
    found = parse_bound(text)
    assert (found.value, found.unit) == (pytest.approx(value), unit)
    assert found.is_absolute == bool(unit)


@pytest.mark.parametrize("bad", ["", "fast", "2 parsecs", "5m", "ms", "1e999", float("nan"), True])
def test_what_is_no_bound_is_refused_with_examples(bad):
    with pytest.raises(StudyError, match="cannot be read") as caught:
        parse_bound(bad)
    assert "1.5GMACs" in str(caught.value)


def test_a_bound_stays_what_it_is():
    bound = Bound(value=2.0, unit="ms")
    assert parse_bound(bound) is bound
    assert str(parse_bound("2ms")) == "2ms"
    assert str(parse_bound(0.5)) == "0.5"
