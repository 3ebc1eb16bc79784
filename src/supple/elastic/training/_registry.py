"""Training rules by name: every public file of this folder is one rule, named as the file."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from supple.elastic.training._rule import Rule, rule_name
from supple.errors import TrainingError, near_misses

__all__ = ["rule_by_name", "rule_names", "rule_settings"]


def rule_names() -> tuple[str, ...]:
    """The names of all training rules, sorted."""
    return tuple(sorted(_rules()))


def rule_by_name(name: str, **settings: Any) -> Rule:
    """The training rule called ``name``, with the given settings.

    Raises:
        TrainingError: There is no such rule, or it has no such setting.

    Example:
        >>> from supple.elastic.training import rule_by_name
        >>> rule_by_name("sandwich", n_random=1).n_random
        1
    """
    rules = _rules()
    key = name.strip().lower().replace("-", "_")
    if key not in rules:
        raise TrainingError(
            f"There is no training rule '{name}'.",
            hint=f"{near_misses(key, rules)} All are {', '.join(rule_names())}.",
            rule=name,
        )
    kind = rules[key]
    known = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in known:
            raise TrainingError(
                f"The training rule '{key}' has no setting '{setting}'.",
                hint=near_misses(setting, known) if known else "leave it out: the rule has none",
                rule=key,
                setting=setting,
            )
    rule: Rule = kind(**settings)
    return rule


def rule_settings(rule: Rule) -> dict[str, Any]:
    """A rule as JSON data: ``rule_by_name(**rule_settings(rule)) == rule``.

    A setting that is a function is given by its name, and then does not come back.
    """
    settings: dict[str, Any] = {"name": rule_name(rule)}
    fields: tuple[dataclasses.Field[Any], ...] = ()
    if dataclasses.is_dataclass(rule):
        fields = dataclasses.fields(rule)
    for field in fields:
        value = getattr(rule, field.name)
        name = getattr(value, "__qualname__", repr(value)) if callable(value) else None
        settings[field.name] = name or value
    return settings


@cache
def _rules() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"supple.elastic.training.{info.name}")
        for kind in vars(module).values():
            if isinstance(kind, type) and getattr(kind, "name", None) == info.name:
                found[info.name] = kind
    return found
