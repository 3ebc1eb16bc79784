"""The handbook's advice: each check finds what it is for, and a fair comparison passes."""

import dataclasses

import pytest

from supple.compress.prune import Arm, check_comparison
from supple.errors import CompressError

FAIR = (
    Arm(name="rigl", role="method", parameters=1000, scores=(0.92, 0.93, 0.94), steps=100),
    Arm(name="random", role="random", parameters=1000, scores=(0.8, 0.81, 0.82), steps=100,
        allocation="erk"),
    Arm(name="small", role="small dense", parameters=1010, scores=(0.7, 0.71, 0.72), steps=100),
    Arm(name="dense", role="dense", parameters=9000, scores=(0.95, 0.95, 0.96), steps=100),
)  # fmt: skip


def codes(*arms):
    return [advice.code for advice in check_comparison(arms)]


def changed(place, **fields):
    arms = list(FAIR)
    arms[place] = dataclasses.replace(arms[place], **fields)
    return codes(*arms)


def test_a_fair_comparison_has_no_findings():
    assert check_comparison(FAIR) == ()


@pytest.mark.parametrize(
    ("place", "fields", "code"),
    [
        (1, {"parameters": 2000}, "no-random"),
        (2, {"parameters": 2000}, "no-small-dense"),
        (3, {"role": "small dense"}, "no-dense"),
        (0, {"steps": 500}, "unequal-budget"),
        (0, {"scores": (0.92, 0.93)}, "few-seeds"),
        (0, {"scores": (0.92, 0.93, 0.94, 0.93)}, "unequal-seeds"),
        (1, {"scores": (0.92, 0.93, 0.95)}, "within-noise"),
        (1, {"allocation": "uniform"}, "weak-random"),
        (2, {"is_tuned": False}, "not-tuned"),
        (0, {"speedup": 4.0}, "speed-not-measured"),
    ],
)
def test_every_fault_is_found(place, fields, code):
    assert code in changed(place, **fields)


def test_equal_operations_are_a_fair_budget_too():
    arms = [dataclasses.replace(arm, training_macs=1e6) for arm in FAIR]
    arms[0] = dataclasses.replace(arms[0], steps=500)
    assert codes(*arms) == []


def test_a_comparison_of_nothing_is_refused():
    with pytest.raises(CompressError, match="none with the role 'method'"):
        check_comparison(FAIR[1:])
