"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.report import _numbers as numbers


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (numbers.plain, 0, "0"),
        (numbers.plain, 1.2345, "1.23"),
        (numbers.plain, -0.0871, "−0.0871"),
        (numbers.plain, 12345.6, "12346"),
        (numbers.percent, 0.9893, "98.9 %"),
        (numbers.points, -0.0028, "−0.3 points"),
        (numbers.points, 0.004, "+0.4 points"),
        (numbers.points, -0.0001, "±0.0 points"),
        (numbers.milliseconds, 1.1823, "1.18 ms"),
        (numbers.milliseconds, 0.0871, "87.1 µs"),
        (numbers.milliseconds, 1240.0, "1.24 s"),
        (numbers.duration, 8.21, "8.2 s"),
        (numbers.duration, 245, "4 min 05 s"),
        (numbers.duration, 4320, "1 h 12 min"),
        (numbers.quantity, 512, "512"),
        (numbers.quantity, 272_474, "272 k"),
        (numbers.quantity, 999_700, "1.00 M"),
        (numbers.quantity, 41_300_000, "41.3 M"),
        (numbers.filesize, 900, "900 B"),
        (numbers.filesize, 1_090_000, "1.09 MB"),
        (numbers.ratio, 0.431, "0.43"),
        (numbers.ratio, 0.0431, "0.043"),
        (numbers.ratio, 1.1, "1.10"),
        (numbers.exact_or_power, 48_384, "48\u202f384"),
        (numbers.exact_or_power, 1_234_567_890, "1.2 × 10⁹"),
        (numbers.exact_or_power, 9_990_000_000, "1.0 × 10¹⁰"),
    ],
)
def test_shown(show, value, text):
    assert show(value) == text


def test_an_interval_names_its_unit_once_and_not_at_all_beside_its_value():
    assert numbers.interval(0.412, 0.449, numbers.ratio) == "[0.41–0.45]"
    assert numbers.interval(0.983, 0.993, numbers.percent) == "[98.3–99.3 %]"
    assert numbers.interval(0.983, 0.993, numbers.percent, beside="98.9 %") == "[98.3–99.3]"
    assert (
        numbers.interval(0.09, 0.11, numbers.milliseconds, beside="0.1 ms") == "[90.0 µs–0.110 ms]"
    )


@given(st.integers(min_value=1_000_000, max_value=10**600))
def test_a_power_of_ten_is_within_five_percent_of_the_count(value):
    lead, _, power = numbers.exact_or_power(value).partition(" × 10")
    exponent = int(power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
    shown = int(float(lead) * 10) * 10**exponent // 10
    assert abs(shown - value) <= value // 18


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_plain_keeps_three_digits(value):
    assert float(numbers.plain(value)) == pytest.approx(value, rel=5.1e-3)


def test_latencies_side_by_side_share_the_unit_of_the_first():
    assert numbers.milliseconds(0.0867, like=0.253) == "0.0867 ms"
    assert numbers.milliseconds(0.5, like=0.05) == "500 µs"
