"""Mappings from outside made into genes, or an error that says what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from supple.errors import ConfigError, SpaceError, near_misses
from supple.space._solve import Solver
from supple.space._table import Genes, Table
from supple.space.choice import Choice, Option, as_option
from supple.space.config import Config

__all__ = ["checked_genes", "checked_option", "constraint_broken", "nearest_genes"]


def checked_genes(table: Table, mapping: Any, space_id: str) -> Genes:
    """The genes of a mapping that fits the choices; inactive ones may be left out.

    Raises:
        ConfigError: Names unknown or missing choices and options that are not offered.
    """
    _check_mapping(mapping)
    _check_known(table, mapping, space_id)
    row = table.largest.copy()
    for name, option in mapping.items():
        position = table.position[name]
        row[position] = checked_option(name, table.choices[position], option, mapping, space_id)
    active = table.active(row[None])[0]
    missing = [n for n, a in zip(table.names, active, strict=True) if a and n not in mapping]
    if missing:
        raise ConfigError(
            f"the config lacks {len(missing)} of the {len(table.names)} choices of this space, "
            f"among them '{missing[0]}'.",
            why=_other_space(mapping, space_id),
            hint="space.largest.replace(config) fills in the uncut options.",
            missing=tuple(missing),
        )
    return row


def checked_option(
    name: str, choice: Choice, option: Any, mapping: Any = None, space_id: str = ""
) -> int:
    """The position of ``option`` among the options of the choice."""
    try:
        plain = as_option(option)
    except SpaceError:
        plain = None
    if plain is not None and plain in choice.options:
        return choice.options.index(plain)
    shown = ", ".join(repr(o) for o in choice.options[:12])
    more = " …" if len(choice.options) > 12 else ""
    raise ConfigError(
        f"choice '{name}' has options ({shown}{more}), got {option!r}.",
        why=_other_space(mapping, space_id),
        hint=_nearest_hint(choice, plain),
        choice=name,
        option=option,
        options=choice.options,
    )


def _nearest_hint(choice: Choice, option: Option | None) -> str:
    if choice.is_number and option is not None and not isinstance(option, str):
        nearest = choice.options[choice.nearest_index(option)]
        return f"the nearest option is {nearest!r}; space.nearest(config) takes it."
    if not choice.is_number and isinstance(option, str):
        return near_misses(option, [str(o) for o in choice.options])
    return f"give a {'number' if choice.is_number else 'name'} that is listed."


def _check_mapping(mapping: Any) -> None:
    if not isinstance(mapping, Mapping):
        raise ConfigError(
            f"a config must map the names of choices to options, got {type(mapping).__name__}.",
            hint="pass a Config or a dict, for instance space.sample(seed=0).",
        )


def _check_known(table: Table, mapping: Mapping[Any, Any], space_id: str) -> None:
    for name in mapping:
        if name not in table.position:
            raise ConfigError(
                f"the config has the choice {name!r}, which this space does not have.",
                why=_other_space(mapping, space_id),
                hint=f"{near_misses(str(name), table.names)} list(space) names all choices.",
                choice=name,
            )


def _other_space(mapping: Any, space_id: str) -> str:
    if isinstance(mapping, Config) and mapping.space_id not in ("", space_id):
        return (
            f"This config was made for another space (its id is {mapping.space_id}, this one is "
            f"{space_id})."
        )
    return ""


def constraint_broken(solver: Solver, row: Genes) -> ConfigError | None:
    """The error for the first constraint that a canonical row breaks, None if all hold."""
    options = solver.table.options(row)
    active = solver.table.active(row[None])[0]
    names = {n for n, a in zip(solver.table.names, active, strict=True) if a}
    for constraint in solver.constraints:
        if not constraint.holds(options, names):
            shown = ", ".join(f"'{n}' is {options[n]!r}" for n in constraint.involved()[:8])
            return ConfigError(
                f"the config breaks the constraint {constraint}.",
                why=f"Found: {shown}.",
                hint="space.nearest(config) finds a config that keeps it.",
            )
    return None


def nearest_genes(table: Table, mapping: Any) -> Genes:
    """Genes near a mapping: unknown choices are left out, missing ones are at their largest."""
    _check_mapping(mapping)
    row = table.largest.copy()
    for name, option in mapping.items():
        position = table.position.get(name)
        if position is not None:
            row[position] = _nearest_index(name, table.choices[position], option)
    return row


def _nearest_index(name: str, choice: Choice, option: Any) -> int:
    try:
        plain = as_option(option, f"the option of '{name}'")
    except SpaceError as problem:
        raise ConfigError(problem.message, hint=problem.hint, choice=name) from None
    if choice.is_number and isinstance(plain, str):
        raise ConfigError(
            f"choice '{name}' is a number, got {option!r}.", hint="give a number.", choice=name
        )
    if isinstance(plain, str) and plain in choice.options:
        return choice.options.index(plain)
    return choice.largest_index if isinstance(plain, str) else _number_index(choice, plain)


def _number_index(choice: Choice, value: float) -> int:
    return choice.nearest_index(value) if choice.is_number else choice.largest_index


def ratio_genes(table: Table, ratio: float) -> Genes:
    """Genes with every number nearest to ``ratio`` times its full size, swaps left alone."""
    return np.array(
        [
            choice.largest_index
            if (full := choice.full_size) is None
            else choice.nearest_index(ratio * full)
            for choice in table.choices
        ],
        dtype=np.int64,
    )
