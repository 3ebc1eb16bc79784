"""Evidence: what a run of a claim measured, as JSON that outlives the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supple.claims._claim import Budget
from supple.claims._rule import VERDICTS, Finding, Rule, Verdict, decide, overall
from supple.errors import ClaimError

__all__ = ["EVIDENCE", "SCHEMA", "Evidence", "evidence_path", "load_evidence", "store_evidence"]

SCHEMA = 1
"""Version of the layout of the files."""

EVIDENCE = Path(__file__).parent / "evidence"
"""The evidence that comes with supple."""

PerSeed = tuple[Any, ...]
"""The value of each seed: numbers (NaN where a seed gave none), or curves."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured, under which rules, and what follows.

    Attributes:
        claim: Name of the claim.
        paper: Id of the paper in the catalogue.
        budget: ``quick`` or ``full``.
        verdict: Of the claim.
        rules: The rules as they were.
        findings: What each rule found.
        seeds: The seeds measured.
        values: arm -> metric -> the value of each seed.
        failures: For each seed that raised an error, its number and the error's text.
        settings: The settings of the budget.
        machine: Where it ran, with versions.
        date: When, UTC, as ISO 8601.
        seconds: Processor time of the seeds, added up: their time on one core that is idle.
        measured: What was measured, and the hash of its source.
    """

    claim: str
    paper: int
    budget: Budget
    verdict: Verdict
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    seeds: tuple[int, ...]
    values: Mapping[str, Mapping[str, PerSeed]]
    failures: Mapping[str, str]
    settings: Any
    machine: Mapping[str, Any]
    date: str
    seconds: float
    measured: Mapping[str, str]

    def to_json(self) -> str:
        """The evidence as JSON text, with null for what is not finite."""
        data = {
            "schema": SCHEMA,
            "claim": self.claim,
            "paper": self.paper,
            "budget": self.budget,
            "verdict": self.verdict,
            "rules": [
                {**rule.to_json(), "sentence": rule.sentence(), "found": found.to_json()}
                for rule, found in zip(self.rules, self.findings, strict=True)
            ],
            "seeds": list(self.seeds),
            "failures": dict(self.failures),
            "settings": self.settings,
            "values": {arm: dict(metrics) for arm, metrics in self.values.items()},
            "seconds": round(self.seconds, 2),
            "date": self.date,
            "machine": dict(self.machine),
            "measured": dict(self.measured),
        }
        return json.dumps(_plain(data), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> Evidence:
        """The evidence in ``text``; the verdict is worked out anew from its values.

        Raises:
            ClaimError: The text is no evidence, or its verdict does not follow from its values.
        """
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}, not {SCHEMA}")
            return _rebuilt(data)
        except (ValueError, KeyError, TypeError, AttributeError, ClaimError) as error:
            reason = error.message if isinstance(error, ClaimError) else str(error)
            raise ClaimError(
                f"'{source}' is no evidence of this version: {reason}.",
                hint="measure the claim again: supple claims run NAME.",
                path=source,
            ) from error


def findings_of(
    rules: Sequence[Rule], values: Mapping[str, Mapping[str, PerSeed]], seeds: Sequence[int]
) -> tuple[Finding, ...]:
    """What the rules find in these values.

    Raises:
        ClaimError: A rule names an arm or a metric that was not measured.
    """
    found = []
    for rule in rules:
        method = _column(rule.method, rule.metric, values)
        if isinstance(rule.baseline, str):
            baseline = _column(rule.baseline, rule.metric, values)
        else:
            baseline = (float(rule.baseline),) * len(seeds)
        found.append(decide(rule, method, baseline))
    return tuple(found)


def _column(
    arm: str, metric: str, values: Mapping[str, Mapping[str, PerSeed]]
) -> tuple[float, ...]:
    if arm not in values or metric not in values[arm]:
        known = ", ".join(f"'{a}': {', '.join(sorted(m))}" for a, m in values.items()) or "nothing"
        raise ClaimError(
            f"a rule asks for '{metric}' of '{arm}', which was not measured.",
            why=f"Measured were {known}.",
            hint='return {"arm": {"metric": value}} from the measuring function.',
        )
    column = values[arm][metric]
    if not all(isinstance(value, int | float) for value in column):
        raise ClaimError(
            f"'{metric}' of '{arm}' is a curve, which no rule can compare.",
            hint="a number beside it, such as the curve's last value.",
        )
    return tuple(float(value) for value in column)


def evidence_path(name: str, budget: Budget, folder: Path = EVIDENCE) -> Path:
    """Where the evidence of a claim is kept."""
    return folder / f"{name}.{budget}.json"


def load_evidence(name: str, folder: Path = EVIDENCE) -> Evidence | None:
    """The full evidence of a claim, else the quick, else None.

    Raises:
        ClaimError: The file is damaged.
    """
    budgets: tuple[Budget, ...] = ("full", "quick")
    for budget in budgets:
        path = evidence_path(name, budget, folder)
        if path.is_file():
            return Evidence.from_json(path.read_text(encoding="utf-8"), str(path))
    return None


def store_evidence(evidence: Evidence, folder: Path = EVIDENCE) -> Path:
    """Write the evidence, whole or not at all; where it is."""
    from supple.report._files import write_whole

    path = evidence_path(evidence.claim, evidence.budget, folder)
    write_whole(path, evidence.to_json())
    return path


def _rebuilt(data: Mapping[str, Any]) -> Evidence:
    derived = ("sentence", "found")
    rules = tuple(Rule(**{k: v for k, v in r.items() if k not in derived}) for r in data["rules"])
    seeds = tuple(int(seed) for seed in data["seeds"])
    values = {
        arm: {metric: tuple(_with_nan(v) for v in column) for metric, column in metrics.items()}
        for arm, metrics in data["values"].items()
    }
    if any(len(column) != len(seeds) for m in values.values() for column in m.values()):
        raise ValueError("it has not one value for each seed")
    findings = findings_of(rules, values, seeds)
    if data["verdict"] not in VERDICTS or overall(findings) != data["verdict"]:
        raise ValueError(
            f"its verdict is '{data['verdict']}', its values say '{overall(findings)}'"
        )
    if data["budget"] not in ("quick", "full"):
        raise ValueError(f"its budget is '{data['budget']}'")
    return Evidence(
        claim=data["claim"],
        paper=data["paper"],
        budget=data["budget"],
        verdict=data["verdict"],
        rules=rules,
        findings=findings,
        seeds=seeds,
        values=values,
        failures=data["failures"],
        settings=data["settings"],
        machine=data["machine"],
        date=data["date"],
        seconds=data["seconds"],
        measured=data["measured"],
    )


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return tuple((point[0], _with_nan(point[1])) for point in value)
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
