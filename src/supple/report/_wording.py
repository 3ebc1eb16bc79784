"""The sentences of the report: the headline, and what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from supple.report._numbers import exact_or_power, interval, percent, plain, ratio
from supple.report._result import Result

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["asked_for", "bound_text", "extracted_text", "headline", "metric_text", "subline"]

# Of the many settings of a training, what a reader wants to know; result.json has them all.
_TELLING = ("weight", "mixup", "epochs", "steps", "optimizer", "lr")


def headline(result: Result) -> str:
    """One sentence that tells what came out, with the interval of the latency ratio.

    "This network runs in 0.43 of the time [0.41–0.45] at 98.9 % instead of 99.2 % test accuracy."
    """
    pick, baseline = result.pick, result.baseline
    if pick is None or baseline is None:
        return _no_pick(result)
    low, high = pick.latency_ratio_interval
    time = f"{ratio(pick.latency_ratio)} of the time {interval(low, high, ratio)}"
    after, before = metric_pair(result, pick.test_accuracy, baseline.test_accuracy)
    name = result.task.metric.name
    if pick.test_accuracy == baseline.test_accuracy:
        return f"This network runs in {time} at the same {after} test {name}."
    return f"This network runs in {time} at {after} instead of {before} test {name}."


def _no_pick(result: Result) -> str:
    done, wanted = _finished(result), result.asked.evaluations
    if result.status == "interrupted":
        progress = f"{done} of {wanted} evaluations"
        return f"The search was interrupted after {progress}; nothing is picked yet."
    bounds = " and ".join(bound_text(k, v, result) for k, v in result.asked.pick.items())
    return f"None of {done} sub-networks has {bounds}." if bounds else "No sub-network was picked."


def _finished(result: Result) -> int:
    return sum(1 for trial in result.trials if trial.values)


def extracted_text(kind: str, reason: str, notes: Sequence[str] = ()) -> str:
    """What an extracted network is made of, and why.

    Args:
        kind: ``"native"`` or ``"graph"``.
        reason: Why it is that.
        notes: What else a user should know.
    """
    kinds = {"native": "the model's own classes", "graph": "a module around the captured graph"}
    said = [": ".join(filter(None, (kinds[kind], reason))), *notes]
    return ". ".join(part.rstrip(".") for part in said) + "."


def subline(result: Result) -> str:
    """The sentence under the headline: where the network comes from."""
    parts = [
        f"{_finished(result)} sub-networks were measured, "
        f"out of {exact_or_power(result.space_size)} in the space",
        f"{len(result.front)} are on the front",
    ]
    if result.status == "interrupted" and result.pick is not None:
        parts.append(f"the search was stopped before its {result.asked.evaluations} evaluations")
    return "; ".join(parts) + "."


def metric_text(result: Result, value: float, digits: int = 1) -> str:
    """A value of the task's metric: a percentage where it is a fraction."""
    return percent(value, digits) if result.task.metric.is_fraction else plain(value)


def metric_pair(result: Result, after: float, before: float) -> tuple[str, str]:
    """Two values of the metric with as many digits as it takes to tell them apart (at most 3)."""
    for digits in (1, 2, 3):
        shown = metric_text(result, after, digits), metric_text(result, before, digits)
        if shown[0] != shown[1] or after == before:
            break
    return shown


def bound_text(name: str, bound: float | str, result: Result) -> str:
    """A bound of the pick in words: "a latency of at most 0.5 of the baseline's"."""
    if name in ("accuracy", result.task.metric.name):
        side = "at least" if result.task.metric.direction == "max" else "at most"
        value = bound if isinstance(bound, str) else metric_text(result, bound)
        return f"a validation {result.task.metric.name} of {side} {value}"
    if isinstance(bound, str):
        return f"a {name} of at most {bound}"
    return f"a {name} of at most {bound:g} of the baseline's"


def asked_for(result: Result) -> list[tuple[str, str]]:
    """What was asked, as pairs of a term and its value."""
    asked = result.asked
    options = ", ".join(f"{key} {value}" for key, value in result.task.options.items())
    name = f"{result.task.name} ({options})" if options else result.task.name
    task = f"{name}: {result.task.description}" if result.task.description else name
    bounds = " and ".join(bound_text(key, value, result) for key, value in asked.pick.items())
    goal = result.task.metric.name
    best = "highest" if result.task.metric.direction == "max" else "lowest"
    pairs = [("Task", task)]
    if bounds:
        pairs.append(("Wanted", f"the {best} {goal} with {bounds}"))
    pairs.append(("Objectives", ", ".join(_objective_words(result))))
    if asked.strategy != "recipe":
        search = f"{asked.evaluations} evaluations, {asked.strategy}, seed {asked.seed}"
        pairs.append(("Search", search))
    if asked.training:
        parts = (_setting(name, value) for name, value in asked.training.items())
        pairs.append(("Training", "; ".join(part for part in parts if part)))
    pairs.append(("Measured with", _measured_with(result)))
    return pairs


def _objective_words(result: Result) -> list[str]:
    words = {"max": "high", "min": "low"}
    return [f"{words[way]} {_words(name)}" for name, way in result.directions.items()]


def _measured_with(result: Result) -> str:
    asked = result.asked
    parts = [asked.backend] if asked.backend else []
    parts.append(f"{asked.threads} thread" + ("s" if asked.threads > 1 else ""))
    if asked.batch is not None:
        parts.append(f"batch {asked.batch}")
    return ", ".join(parts)


def _setting(name: str, value: JsonValue) -> str:
    """A setting of the training in words; of a group of settings, those that matter most."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        return f"{_words(name)} {value}"
    shown = [str(value["name"])] if value.get("name", name) != name else []
    for key in _TELLING:
        if value.get(key) not in (None, 0):
            number = value[key]
            is_number = isinstance(number, int | float)
            shown.append(f"{_words(key)} {number:g}" if is_number else str(number))
    return f"{_words(name)}: {', '.join(shown)}" if shown else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
