"""Choices and conditions: what they accept, what they mean, JSON."""

import dataclasses
import math

import numpy as np
import pytest

from supple.errors import SpaceError
from supple.space import Bits, Choice, Condition, Depth, Kernel, Resolution, Space, Swap, Width

WHEN = (Condition(choice="depth", options=(2, 3)),)


def test_the_largest_number_is_the_last_and_the_largest_name_the_first():
    assert Width(options=(8, 16, 32), size=32).largest == 32
    assert Swap(options=("original", "kan")).largest == "original"
    assert Swap(options=("original", "kan")).largest_index == 0


def test_a_class_and_its_kind_build_equal_choices():
    for cls in (Width, Depth, Kernel, Bits, Resolution):
        one = cls(options=(1, 3), size=3, when=WHEN)
        other = Choice(kind=one.kind, options=(1, 3), size=3, when=WHEN)
        assert one == other
        assert hash(one) == hash(other)
        assert type(Choice.from_data(one.to_data())) is cls
        assert Choice.from_data(one.to_data()) == one
    assert Width(options=(1, 3)) != Depth(options=(1, 3))


def test_whole_floats_and_numpy_scalars_become_plain_ints():
    choice = Width(options=(8.0, np.int64(16)), size=16.0)
    assert [type(option) for option in choice.options] == [int, int]
    assert type(choice.size) is int
    assert Bits(options=(np.float64(1.5), 8)).options == (1.5, 8)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 8), (11, 8), (12, 16), (15.9, 16), (24, 32), (99, 32)]
)
def test_nearest_index_takes_the_larger_of_two_equally_near(value, expected):
    choice = Width(options=(8, 16, 32))
    assert choice.options[choice.nearest_index(value)] == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Width(options=()), "needs an option"),
        (lambda: Width(options=(8, 8)), "must ascend"),
        (lambda: Width(options=(16, 8)), "must ascend"),
        (lambda: Width(options=(0, 8)), "got the option 0"),
        (lambda: Width(options=(1.5,)), "got the option 1.5"),
        (lambda: Width(options=("8",)), "got the option '8'"),
        (lambda: Width(options=(True,)), "must be a number or a name"),
        (lambda: Width(options=(math.nan,)), "finite"),
        (lambda: Width(options=(math.inf,)), "finite"),
        (lambda: Width(options=(2**60,)), "finite number of at most"),
        (lambda: Width(options="8"), "must be a sequence"),
        (lambda: Width(options=8), "must be a sequence"),
        (lambda: Width(options=(8, 16), size=8), "of size 8 got the option 16"),
        (lambda: Width(options=(8,), size=8.5), "of size 8.5"),
        (lambda: Width(options=(8,), size="8"), "of size '8'"),
        (lambda: Depth(options=(-1, 2)), "got the option -1"),
        (lambda: Bits(options=(0.5,)), "got the option 0.5"),
        (lambda: Swap(options=("a", "a")), "different names"),
        (lambda: Swap(options=("a", 1)), "different names"),
        (lambda: Swap(options=("a",), size=1), "no size"),
        (lambda: Choice(kind="widht", options=(1,)), "no kind of choice 'widht'"),
        (lambda: Width(options=(8,), when=("depth",)), "must be Condition objects"),
        (lambda: Width(options=(8,), when=8), "must be Condition objects"),
        (lambda: Condition(choice="", options=(1,)), "must name a choice"),
        (lambda: Condition(choice="d", options=3), "must be a sequence"),
    ],
)
def test_what_no_choice_can_be_is_refused(build, message):
    with pytest.raises(SpaceError, match=message):
        build()


def test_a_misspelt_kind_gets_the_near_miss():
    with pytest.raises(SpaceError, match="did you mean 'width'"):
        Choice(kind="widht", options=(1,))


def test_choices_are_immutable_and_can_be_replaced():
    choice = Width(options=(8, 16), size=16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        choice.size = 8
    assert dataclasses.replace(choice, size=32) == Width(options=(8, 16), size=32)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "width"},
        {"kind": "width", "options": [8], "sise": 8},
        {"kind": "width", "options": 8},
        {"kind": "width", "options": [8], "when": {"choice": "d", "options": [1]}},
        {"kind": "width", "options": [8], "when": [{"choice": "d"}]},
        {"kind": ["width"], "options": [8]},
        {"kind": "width", "options": [True]},
        {"kind": "width", "options": [None]},
        [8],
    ],
)
def test_json_data_that_is_no_choice_is_refused(data):
    with pytest.raises(SpaceError):
        Choice.from_data(data)


def test_conditions_are_checked_against_the_space():
    with pytest.raises(SpaceError, match=r"'dept'.*not in the space(.|\n)*mean 'depth'"):
        Space(
            {
                "depth": Depth(options=(1, 2)),
                "w": Width(options=(8,), when=(Condition(choice="dept", options=(1,)),)),
            }
        )
    with pytest.raises(SpaceError, match="not one of its options"):
        Space({"depth": Depth(options=(1, 2)), "w": Width(options=(8,), when=WHEN)})


def test_conditions_in_a_circle_are_refused():
    def on(name):
        return (Condition(choice=name, options=(1,)),)

    with pytest.raises(SpaceError, match="circle"):
        Space({"a": Width(options=(1, 2), when=on("b")), "b": Width(options=(1,), when=on("a"))})
    with pytest.raises(SpaceError, match="circle"):
        Space({"a": Width(options=(1, 2), when=on("a"))})


def test_a_decider_may_come_after_the_choice_it_decides_on():
    space = Space(
        {
            "w": Width(options=(8, 16), when=(Condition(choice="d", options=(2,)),)),
            "d": Depth(options=(1, 2)),
        }
    )
    assert space.size == 3
    assert space.validate({"d": 1}) == {"w": 16, "d": 1}
