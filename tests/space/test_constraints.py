"""Constraints: three ways to say whether one holds agree, and repair honours them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supple.errors import ConfigError, SpaceError
from supple.space import (
    Condition,
    Constraint,
    Depth,
    Divides,
    Equal,
    Multiple,
    Ordered,
    Space,
    Sum,
    Swap,
    Width,
)
from tests.space._oracle import all_configs, choice_maps, constraint_lists, holds

A_B = {"a": Width(options=(8, 12, 16)), "b": Width(options=(10, 12, 20))}


def test_each_says_what_its_name_says():
    config = {"a": 8, "b": 16, "c": 8}
    assert Equal(names=("a", "c")).holds(config)
    assert not Equal(names=("a", "b", "c")).holds(config)
    assert Ordered(names=("a", "c", "b")).holds(config)
    assert not Ordered(names=("a", "b", "c")).holds(config)
    assert Divides(divisor="a", number="b").holds(config)
    assert not Divides(divisor="b", number="a").holds(config)
    assert Multiple(name="a", of=4).holds(config)
    assert not Multiple(name="a", of=16).holds(config)
    assert Sum(names=("a", "b", "c"), at_most=32, at_least=32).holds(config)
    assert not Sum(names=("a", "b", "c"), at_most=31).holds(config)
    assert not Sum(names=("a", "b", "c"), at_least=33).holds(config)


def test_nothing_is_divided_by_zero():
    assert not Divides(divisor="a", number="b").holds({"a": 0, "b": 4})
    space = Space(
        {"a": Depth(options=(0, 2)), "b": Width(options=(3, 4))},
        [Divides(divisor="a", number="b")],
    )
    assert list(space.configs()) == [{"a": 2, "b": 4}]


def test_inactive_choices_neither_break_nor_help():
    config = {"a": 8, "b": 16}
    assert Equal(names=("a", "b")).holds(config, active={"a"})
    assert not Sum(names=("a", "b"), at_least=20).holds(config, active={"a"})


def test_a_choice_the_config_lacks_is_named():
    with pytest.raises(ConfigError, match="'c'"):
        Equal(names=("a", "c")).holds({"a": 8})


@given(st.data())
def test_check_possible_and_the_definition_agree_on_every_config(data):
    choices = data.draw(choice_maps(most=4))
    constraints = data.draw(constraint_lists(choices))
    assume(constraints)
    rows = list(itertools.product(*(choice.options for choice in choices.values())))
    names = list(choices)
    columns = {
        name: np.array([row[i] for row in rows], dtype=float if choice.is_number else str)
        for i, (name, choice) in enumerate(choices.items())
    }
    some = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    active = {name for name, on in zip(names, some, strict=True) if on}
    flags = {name: np.full(len(rows), name in active) for name in names}
    for constraint in constraints:
        checked = constraint.check(columns, flags)
        for row, answer in zip(rows, checked, strict=True):
            config = dict(zip(names, row, strict=True))
            assert constraint.holds(config, active) == answer == holds(constraint, config, active)


@given(st.data())
def test_possible_never_denies_what_can_still_be(data):
    choices = data.draw(choice_maps(most=4))
    constraints = data.draw(constraint_lists(choices))
    assume(constraints)
    domains = {
        name: tuple(data.draw(st.lists(st.sampled_from(choice.options), min_size=1, unique=True)))
        for name, choice in choices.items()
    }
    maybe = data.draw(st.sets(st.sampled_from(list(choices))))
    for constraint in constraints:
        can_be = False
        for row in itertools.product(*domains.values()):
            config = dict(zip(choices, row, strict=True))
            for size in range(len(maybe) + 1):
                for gone in itertools.combinations(sorted(maybe), size):
                    can_be |= holds(constraint, config, set(choices) - set(gone))
        sure_options = {n: domains[n] for n in constraint.involved() if n not in maybe}
        maybe_options = {n: domains[n] for n in constraint.involved() if n in maybe}
        if can_be:
            assert constraint.possible(sure_options, maybe_options)


@given(st.data())
def test_json_round_trip(data):
    choices = data.draw(choice_maps())
    for constraint in data.draw(constraint_lists(choices)):
        space_like = Space.from_data(
            {
                "schema": 1,
                "choices": [{"name": n, "kind": "width", "options": [6]} for n in choices],
                "constraints": [constraint.to_data()]
                if all_configs(dict.fromkeys(choices, Width(options=(6,))), [constraint])
                else [],
            }
        )
        assert space_like.constraints in ((constraint,), ())


def test_equal_options_are_found_where_most_combinations_are_wrong():
    space = Space(A_B, [Equal(names=("a", "b"))])
    assert list(space.configs()) == [{"a": 12, "b": 12}]
    assert space.largest == space.smallest == space.sample(seed=0) == {"a": 12, "b": 12}
    assert space.from_indices([0, 0]) == {"a": 12, "b": 12}


def test_twenty_tied_widths_are_drawn_evenly():
    names = [f"w{i}" for i in range(20)]
    options = tuple(range(8, 72, 8))
    space = Space(dict.fromkeys(names, Width(options=options)), [Equal(names=tuple(names))])
    assert space.size == 8
    assert space.is_size_exact
    drawn = [space.sample(seed=seed)["w7"] for seed in range(400)]
    counts = [drawn.count(option) for option in options]
    # 50 each expected; 6 standard deviations of a binomial are 40.
    assert min(counts) > 10
    assert max(counts) < 90


def test_a_mutation_carries_tied_choices_along():
    names = tuple(f"w{i}" for i in range(6))
    space = Space(dict.fromkeys(names, Width(options=(8, 16, 24))), [Equal(names=names)])
    config = space.at_ratio(0.7)
    assert set(config.values()) == {16}
    assert {next(iter(c.values())) for c in space.neighbours(config)} == {8, 24}
    mutated = space.mutate(config, np.random.default_rng(0))
    assert len(set(mutated.values())) == 1
    assert mutated != config


def test_a_budget_over_many_widths_is_kept_and_spread():
    names = tuple(f"w{i}" for i in range(40))
    choices = dict.fromkeys(names, Width(options=tuple(range(8, 72, 8)), size=64))
    space = Space(choices, [Sum(names=names, at_most=640)])
    rng = np.random.default_rng(0)
    configs = space.sample_many(30, rng)
    sums = [sum(config.values()) for config in configs]
    assert max(sums) <= 640
    assert min(sums) >= 560  # repair changes no more than it must
    mean = np.mean([list(config.values()) for config in configs], axis=0)
    assert mean.min() > 8  # no width is always the one that is squeezed
    assert not space.is_size_exact
    assert space.size == 8**40


def test_what_no_config_can_satisfy_is_refused_at_once():
    disjoint = {"a": Width(options=(8,)), "b": Width(options=(10,))}
    with pytest.raises(SpaceError, match=r"no config of this space satisfies .*Equal"):
        Space(disjoint, [Equal(names=("a", "b"))])
    with pytest.raises(SpaceError, match="no config"):
        Space(A_B, [Ordered(names=("a", "b")), Sum(names=("a", "b"), at_most=17)])


def test_the_constraints_that_leave_nothing_are_named_and_no_others():
    widths = {name: Width(options=(8, 12, 16)) for name in "abcd"}
    fair = [Ordered(names=("a", "b")), Equal(names=("b", "c")), Divides(divisor="c", number="d")]
    alone = Sum(names=("a", "b"), at_most=15)
    with pytest.raises(SpaceError) as one:
        Space(widths, [*fair, alone])
    assert one.value.data["constraints"] == [str(alone)]
    together = [Sum(names=("a", "b"), at_most=20), Sum(names=("a", "d"), at_least=30)]
    Space(widths, [*fair, together[0]])
    Space(widths, [*fair, together[1]])
    with pytest.raises(SpaceError) as several:
        Space(widths, [fair[0], *together, Sum(names=("a", "d"), at_most=24)])
    assert several.value.data["constraints"] == [
        str(together[1]),
        str(Sum(names=("a", "d"), at_most=24)),
    ]


def test_a_constraint_can_be_met_by_switching_a_choice_off():
    off = (Condition(choice="depth", options=(1,)),)
    choices = {"depth": Depth(options=(0, 1)), "w": Width(options=(6, 10), when=off)}
    space = Space(choices, [Multiple(name="w", of=4)])
    assert list(space.configs()) == [{"depth": 0, "w": 10}]
    assert space.largest == {"depth": 0, "w": 10}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Equal(names=("a",)), "2 or more"),
        (lambda: Equal(names=("a", "a")), "different choices"),
        (lambda: Equal(names="ab"), "different choices"),
        (lambda: Ordered(names=("a", 3)), "different choices"),
        (lambda: Divides(divisor="a", number="a"), "different choices"),
        (lambda: Multiple(name="", of=8), "different choices"),
        (lambda: Multiple(name="a", of=0), "whole number from 1 up"),
        (lambda: Multiple(name="a", of=1.5), "whole number from 1 up"),
        (lambda: Sum(names=("a",)), "no bound"),
        (lambda: Sum(names=("a",), at_most=math.nan), "finite"),
        (lambda: Sum(names=("a",), at_most="8"), "must be a number"),
        (lambda: Space(A_B, [Equal(names=("a", "c"))]), "'c', which is not in the space"),
        (lambda: Space(A_B, ["a=b"]), "must be a Constraint"),
    ],
)
def test_what_no_constraint_can_be_is_refused(build, message):
    with pytest.raises(SpaceError, match=message):
        build()


def test_names_are_not_compared_with_numbers():
    mixed = {"a": Width(options=(8,)), "s": Swap(options=("x", "y")), "t": Swap(options=("y",))}
    for constraint in (Equal(names=("a", "s")), Sum(names=("a", "s"), at_most=8)):
        with pytest.raises(SpaceError, match="compares names with numbers"):
            Space(mixed, [constraint])
    tied = Space(mixed, [Equal(names=("s", "t"))])
    assert tied.sample(seed=0)["s"] == "y"


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "equals", "names": ["a", "b"]},
        {"kind": "equal"},
        {"kind": "equal", "names": ["a", "b"], "of": 3},
        {"kind": "multiple", "name": ["a"], "of": 3},
        {"names": ["a", "b"]},
        "equal",
    ],
)
def test_json_data_that_is_no_constraint_is_refused(data):
    choices = [{"name": name, "kind": "width", "options": [8]} for name in "ab"]
    with pytest.raises(SpaceError):
        Space.from_data({"schema": 1, "choices": choices, "constraints": [data]})


def test_all_kinds_are_exported():
    assert {kind.__name__ for kind in Constraint.__subclasses__()} == {
        "Divides",
        "Equal",
        "Multiple",
        "Ordered",
        "Sum",
    }
