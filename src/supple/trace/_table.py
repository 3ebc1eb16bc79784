"""The table of operator rules: operator name to rule, filled by the files of ``rules/``.

Adding an operator takes five lines::

    @rule("glu")
    def glu(op: Operation) -> Axes:
        x = list(op.axes("self"))
        ...
        return tuple(x)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

import torch

from supple.trace._operation import Axes, Operation

__all__ = ["Rule", "all_rules", "find_rule", "rule"]

Rule = Callable[[Operation], "Axes | list[Axes]"]
_TABLE: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for all overloads of the named ATen operators, in-place ones included."""

    def register(function: Rule) -> Rule:
        for name in names:
            if name in _TABLE:
                raise AssertionError(f"operator {name!r} has two rules")
            _TABLE[name] = function
        return function

    return register


@cache
def all_rules() -> dict[str, Rule]:
    """All rules by operator name; the files of ``rules/`` list themselves."""
    import supple.trace.rules as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _TABLE


def find_rule(target: object) -> Rule | None:
    """The rule of a call target: by name, as a form of another operator, or as point-wise."""
    table = all_rules()
    if not isinstance(target, torch._ops.OpOverload):
        return table.get(getattr(target, "__name__", ""))
    namespace, _, name = target._schema.name.partition("::")
    if namespace != "aten":
        return table.get(target._schema.name)
    if name in table:
        return table[name]
    for other in (name.removesuffix("_"), name.removesuffix("_copy")):
        if other in table:  # in place, or a view that owns its memory
            return table[other]
    return table["pointwise"] if _is_pointwise(target.overloadpacket) else None


@cache
def _is_pointwise(packet: torch._ops.OpOverloadPacket) -> bool:
    """Some overload is tagged so; the tags of the others are often missing."""
    names: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    return any(torch.Tag.pointwise in getattr(packet, name).tags for name in names)
