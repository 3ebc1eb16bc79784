"""The rule that decides a claim: data, written before anything is measured.

A rule compares two arms of the same run on one metric, seed by seed. Its effect is counted in the
paper's direction: positive where the method does what the paper says. The 95 % interval of the
mean effect decides:

    expects "better"       reproduced      the interval is above 0 and the mean reaches the margin
                           weaker          the interval is above 0, the mean is below the margin
                           opposite        the interval is below 0
                           not reproduced  it holds 0 and ends below the margin: no such effect
                           not decided     it holds 0 and reaches past the margin: too few seeds
    expects "not worse"    reproduced      the interval is above -margin
                           not reproduced  it is below -margin;  otherwise not decided
    expects "equal"        reproduced      the interval is inside -margin .. margin
                           not reproduced  it is outside of it;  otherwise not decided

A seed whose value is not finite is never averaged away: the rule is then not decided, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from supple.errors import ClaimError, near_misses

__all__ = ["VERDICTS", "Finding", "Rule", "Verdict", "decide", "overall"]

Verdict = Literal["reproduced", "weaker", "not reproduced", "opposite", "not decided"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""All verdicts, from the best on."""

_CHOICES = {
    "expects": ("better", "not worse", "equal"),
    "better": ("higher", "lower"),
    "scale": ("difference", "ratio"),
    "interval": ("t", "bootstrap"),
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One comparison and the margin that decides it.

    Attributes:
        metric: What is compared.
        method: The arm that the paper is about.
        baseline: The arm it is compared with, or a number.
        better: Whether ``higher`` or ``lower`` values are better.
        expects: What the paper says of the method: ``better``, ``not worse`` or ``equal``.
        margin: The smallest effect that counts as the paper's (``better``), or the largest
            difference that still counts as none: 0 only for what is exact. In the metric's unit, or
            a factor for ratios.
        scale: ``difference``, or ``ratio`` for times and counts: the effect is then a factor.
        interval: ``t`` for few seeds, ``bootstrap`` for ten or more.
        unit: Unit of the difference, for reading.

    Example:
        >>> rule = Rule(metric="accuracy", method="selu", baseline="relu", margin=0.01)
        >>> decide(rule, [0.95, 0.96, 0.94], [0.90, 0.92, 0.89]).verdict
        'reproduced'
    """

    metric: str
    method: str
    baseline: str | float
    better: Literal["higher", "lower"] = "higher"
    expects: Literal["better", "not worse", "equal"] = "better"
    margin: float = 0.0
    scale: Literal["difference", "ratio"] = "difference"
    interval: Literal["t", "bootstrap"] = "t"
    unit: str = ""

    def __post_init__(self) -> None:
        for field, known in _CHOICES.items():
            if getattr(self, field) not in known:
                raise ClaimError(
                    f"a rule got {field}={getattr(self, field)!r}.",
                    hint=near_misses(str(getattr(self, field)), known),
                )
        least = 1.0 if self.scale == "ratio" and self.margin != 0 else 0.0
        if not math.isfinite(self.margin) or self.margin < least:
            raise ClaimError(
                f"a rule on a {self.scale} got margin={self.margin!r}.",
                hint="a factor of 1 or more" if least else "0 or more",
            )

    def sentence(self) -> str:
        """The rule in words."""
        against = self.baseline if isinstance(self.baseline, str) else f"{self.baseline:g}"
        size = self._size(self.margin)
        if self.expects == "equal":
            return f"{self.metric} of {self.method} equals that of {against} within {size}"
        if self.expects == "not worse":
            return f"{self.metric} of {self.method} is at most {size} worse than that of {against}"
        least = f" by at least {size}" if self.margin else ""
        return f"{self.metric} of {self.method} is {self.better} than that of {against}{least}"

    def _size(self, margin: float) -> str:
        if self.scale == "ratio":
            return f"a factor of {margin:g}"
        return f"{margin:g}{' ' + self.unit if self.unit else ''}"

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON data; ``Rule(**data)`` gives it back."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule found.

    Attributes:
        verdict: One of :data:`VERDICTS`.
        effect: The mean effect, positive in the paper's direction, or the factor of a ratio (over
            1 in the paper's direction); None where a seed has no finite value.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        per_seed: The effect of each seed, in order; None where it has none.
        note: What else to know, such as a seed that failed.
    """

    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    per_seed: tuple[float | None, ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON data."""
        return {**asdict(self), "per_seed": list(self.per_seed)}


def decide(rule: Rule, method: Sequence[float], baseline: Sequence[float]) -> Finding:
    """Apply ``rule`` to the values of both arms, paired by seed.

    Raises:
        ClaimError: The arms have different numbers of seeds, or none.
    """
    if len(method) != len(baseline) or not method:
        raise ClaimError(
            f"'{rule.method}' has {len(method)} values and its baseline {len(baseline)}.",
            why="Values are compared seed by seed.",
            hint="measure both arms in the same run.",
        )
    effects = [_effect(rule, m, b) for m, b in zip(method, baseline, strict=True)]
    shown = tuple(_shown(rule, e) if math.isfinite(e) else None for e in effects)
    bad = [str(place + 1) for place, e in enumerate(effects) if not math.isfinite(e)]
    if bad:
        note = f"no finite value in {', '.join(bad)} of {len(effects)} seeds (counted from 1)"
        return Finding(
            verdict="not decided", effect=None, low=None, high=None, per_seed=shown, note=note
        )
    if len(effects) == 1:
        return Finding(
            verdict="not decided", effect=shown[0], low=None, high=None, per_seed=shown,
            note="one seed gives no interval",
        )  # fmt: skip
    from supple.claims._interval import bootstrap_interval, t_interval

    interval = t_interval if rule.interval == "t" else bootstrap_interval
    mean, low, high = interval(effects)
    margin = math.log(max(rule.margin, 1.0)) if rule.scale == "ratio" else rule.margin
    return Finding(
        verdict=_verdict(rule.expects, mean, low, high, margin),
        effect=_shown(rule, mean),
        low=_shown(rule, low),
        high=_shown(rule, high),
        per_seed=shown,
    )


def overall(findings: Sequence[Finding]) -> Verdict:
    """The verdict of a claim: that of its first rule, its headline.

    A reproduced headline becomes ``weaker`` where another rule falls short.
    """
    headline, *others = (finding.verdict for finding in findings)
    if headline == "reproduced" and any(other != "reproduced" for other in others):
        return "weaker"
    return headline


def _effect(rule: Rule, method: float, baseline: float) -> float:
    sign = 1.0 if rule.better == "higher" else -1.0
    if rule.scale == "difference":
        return sign * (method - baseline)
    if not (0 < method < math.inf and 0 < baseline < math.inf):
        return math.nan  # a ratio of what is not positive says nothing
    return sign * math.log(method / baseline)


def _shown(rule: Rule, effect: float) -> float:
    return math.exp(min(effect, 700.0)) if rule.scale == "ratio" else effect


def _verdict(expects: str, mean: float, low: float, high: float, margin: float) -> Verdict:
    if expects == "better":
        if low > 0:
            return "reproduced" if mean >= margin else "weaker"
        if high < 0:
            return "opposite"
        return "not decided" if high > margin else "not reproduced"
    if low >= -margin and (expects == "not worse" or high <= margin):
        return "reproduced"
    if high < -margin or (expects == "equal" and low > margin):
        return "not reproduced"
    return "not decided"
