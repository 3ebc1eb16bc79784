"""The rule that decides: every verdict at both sides of its edges, ties, and what is not finite."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supple.claims import VERDICTS, Finding, Rule, decide, overall
from supple.errors import ClaimError

# 95 % point of Student's t with 2 degrees of freedom, from its closed form
# t = a * sqrt(2 / (1 - a**2)) for a two-sided level a.
T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))


def effects(mean, half):
    """Three values with this mean and this half-width of their t-interval."""
    spread = half / T2 * math.sqrt(3)
    return [mean - spread, mean, mean + spread]


def verdict(expects, mean, half, margin, **more):
    rule = Rule(metric="m", method="a", baseline=0.0, expects=expects, margin=margin, **more)
    found = decide(rule, effects(mean, half), [0.0] * 3)
    assert found.effect == pytest.approx(mean, abs=1e-9)
    assert found.low == pytest.approx(mean - half, abs=1e-9)
    assert found.high == pytest.approx(mean + half, abs=1e-9)
    return found.verdict


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (1.0, 0.99, "reproduced"),
        (0.5, 0.49, "reproduced"),  # the mean on the margin
        (0.49, 0.48, "weaker"),
        (0.1, 0.09, "weaker"),
        (0.1, 0.11, "not reproduced"),  # holds 0, ends below the margin
        (0.0, 0.49, "not reproduced"),
        (0.3, 0.31, "not decided"),  # holds 0, reaches past the margin
        (1.0, 1.01, "not decided"),
        (-0.1, 0.09, "opposite"),
        (-1.0, 0.99, "opposite"),
    ],
)
def test_better(mean, half, expected):
    assert verdict("better", mean, half, 0.5) == expected


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.0, 0.49, "reproduced"),
        (3.0, 0.1, "reproduced"),  # better is not worse
        (0.0, 0.51, "not decided"),
        (-0.6, 0.2, "not decided"),
        (-0.8, 0.2, "not reproduced"),
    ],
)
def test_not_worse(mean, half, expected):
    assert verdict("not worse", mean, half, 0.5) == expected


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.0, 0.49, "reproduced"),
        (0.3, 0.19, "reproduced"),
        (0.3, 0.3, "not decided"),
        (0.8, 0.2, "not reproduced"),
        (-0.8, 0.2, "not reproduced"),
    ],
)
def test_equal(mean, half, expected):
    assert verdict("equal", mean, half, 0.5) == expected


def test_lower_is_better_turns_the_effect_around():
    rule = Rule(metric="loss", method="a", baseline="b", better="lower")
    found = decide(rule, [1.0, 1.1, 1.2], [2.0, 2.1, 2.2])
    assert (found.verdict, found.per_seed) == ("reproduced", pytest.approx((1.0, 1.0, 1.0)))


def test_effects_are_paired_by_seed():
    """Seeds that differ much among each other hide nothing where every pair agrees."""
    rule = Rule(metric="m", method="a", baseline="b")
    assert decide(rule, [1.1, 10.1, 100.1], [1.0, 10.0, 100.0]).verdict == "reproduced"


def test_a_ratio_is_a_factor_with_a_geometric_mean():
    rule = Rule(metric="s", method="a", baseline="b", better="lower", scale="ratio", margin=2.0)
    found = decide(rule, [1.0, 1.0, 1.0], [2.0, 4.0, 8.0])
    half = T2 * math.log(2) / math.sqrt(3)
    assert found.per_seed == pytest.approx((2, 4, 8))
    assert found.effect == pytest.approx(4)
    assert found.low == pytest.approx(math.exp(math.log(4) - half))
    assert found.high == pytest.approx(math.exp(math.log(4) + half))
    assert found.verdict == "not decided"  # 0.72 to 22
    assert decide(rule, [1.0, 1.0, 1.0], [3.0, 4.0, 5.0]).verdict == "reproduced"
    assert decide(rule, [1.0, 1.0, 1.0], [1.2, 1.25, 1.3]).verdict == "weaker"
    assert decide(rule, [1.2, 1.25, 1.3], [1.0, 1.0, 1.0]).verdict == "opposite"


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_a_tie_is_no_effect(margin):
    rule = Rule(metric="m", method="a", baseline="b", margin=margin)
    found = decide(rule, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.verdict, found.low, found.effect, found.high) == ("not reproduced", 0, 0, 0)


@pytest.mark.parametrize("expects", ["equal", "not worse"])
@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_a_tie_is_equal_and_not_worse(expects, margin):
    rule = Rule(metric="m", method="a", baseline="b", expects=expects, margin=margin)
    assert decide(rule, [1.0, 2.0], [1.0, 2.0]).verdict == "reproduced"
    assert decide(rule, [0.5, 1.5], [1.0, 2.0]).verdict == "not reproduced"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("in_baseline", [False, True])
def test_what_is_not_finite_is_not_averaged_away(bad, in_baseline):
    good, hurt = [5.0, 5.0, 5.0], [5.0, bad, 5.0]
    rule = Rule(metric="m", method="a", baseline="b")
    found = decide(rule, *((good, hurt) if in_baseline else (hurt, good)))
    assert found.verdict == "not decided"
    assert (found.effect, found.low, found.high) == (None, None, None)
    assert found.per_seed == (0.0, None, 0.0)
    assert "2 of 3 seeds" in found.note


def test_a_ratio_of_zero_is_not_finite():
    rule = Rule(metric="s", method="a", baseline="b", scale="ratio")
    assert decide(rule, [0.0, 1.0], [1.0, 1.0]).effect is None


def test_one_seed_decides_nothing():
    found = decide(Rule(metric="m", method="a", baseline="b"), [5.0], [1.0])
    assert (found.verdict, found.effect, found.low) == ("not decided", 4.0, None)
    assert "one seed" in found.note


def test_the_bootstrap_agrees_with_t_on_many_seeds():
    values = [math.sin(3 * k) + 1 for k in range(60)]
    two = [
        decide(Rule(metric="m", method="a", baseline=0.0, interval=kind), values, [0.0] * 60)
        for kind in ("t", "bootstrap")
    ]
    assert two[0].effect == two[1].effect
    assert two[1].low == pytest.approx(two[0].low, abs=0.02)
    assert two[1].high == pytest.approx(two[0].high, abs=0.02)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=6),
    st.floats(0, 2),
    st.sampled_from(["better", "not worse", "equal"]),
)
def test_every_finite_case_has_a_verdict_that_its_interval_allows(values, margin, expects):
    margin += 0.1
    rule = Rule(metric="m", method="a", baseline=0.0, expects=expects, margin=margin)
    found = decide(rule, values, [0.0] * len(values))
    assert found.verdict in VERDICTS
    assert found.low <= found.effect <= found.high
    if found.verdict == "reproduced":
        assert found.low > 0 if expects == "better" else found.low >= -margin
    if found.verdict == "opposite":
        assert found.high < 0


def finding(verdict):
    return Finding(verdict=verdict, effect=0.0, low=0.0, high=0.0, per_seed=())


@pytest.mark.parametrize("headline", VERDICTS)
@pytest.mark.parametrize("other", VERDICTS)
def test_the_headline_decides_and_falls_short_with_the_others(headline, other):
    found = overall([finding(headline), finding("reproduced"), finding(other)])
    short = headline == "reproduced" and other != "reproduced"
    assert found == ("weaker" if short else headline)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expects": "beter"}, "'better'"),
        ({"better": "more"}, "better='more'"),
        ({"scale": "log"}, "scale='log'"),
        ({"interval": "z"}, "interval='z'"),
        ({"margin": -1.0}, "margin=-1.0"),
        ({"margin": math.nan}, "margin=nan"),
        ({"margin": 0.5, "scale": "ratio"}, "a factor of 1 or more"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ClaimError, match=message.replace("'", "['\"]?")):
        Rule(**{"metric": "m", "method": "a", "baseline": "b", **settings})


def test_arms_of_different_lengths_are_refused():
    with pytest.raises(ClaimError, match="seed by seed"):
        decide(Rule(metric="m", method="a", baseline="b"), [1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "m of a is higher than that of b"),
        ({"margin": 0.01, "unit": "pt"}, "m of a is higher than that of b by at least 0.01 pt"),
        ({"better": "lower", "scale": "ratio", "margin": 2.0},
         "m of a is lower than that of b by at least a factor of 2"),
        ({"baseline": 0.96}, "m of a is higher than that of 0.96"),
        ({"expects": "equal", "margin": 0.1}, "m of a equals that of b within 0.1"),
        ({"expects": "not worse", "margin": 0.1}, "m of a is at most 0.1 worse than that of b"),
    ],
)  # fmt: skip
def test_a_rule_reads_as_a_sentence(settings, sentence):
    assert (
        Rule(**{"metric": "m", "method": "a", "baseline": "b", **settings}).sentence() == sentence
    )


def test_a_rule_crosses_json():
    rule = Rule(metric="m", method="a", baseline=0.5, margin=0.1)
    assert Rule(**rule.to_json()) == rule
