"""Space: what may vary in a model, and every config that may come of it.

A space is an ordered mapping from names to choices, with constraints. All configs it hands out
are *canonical*: choices that are not active are set to their largest option, so that two
configs are equal exactly if they describe the same network, and counts and encodings follow.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supple.errors import SpaceError, near_misses
from supple.space import _checking, _count, _variation
from supple.space._json import checked_keys, digest, parse
from supple.space._solve import Solver
from supple.space._table import Genes, Table
from supple.space.choice import Choice, Condition, Option, as_option
from supple.space.config import Config
from supple.space.constraints import Constraint, constraint_from_data

__all__ = ["Encoding", "Space"]

Encoding = Literal["onehot", "ordinal"]


class Space(Mapping[str, Choice]):
    """An ordered mapping from names to choices, immutable, JSON in and out.

    Equality, hash and ``id`` count names, choices, constraints and their order.

    Args:
        choices: The choice behind each name.
        constraints: What every config must satisfy.

    Raises:
        SpaceError: For conditions in a circle, names that do not exist, or constraints that no
            config satisfies.

    Example:
        >>> from supple.space import Condition, Depth, Space, Width
        >>> deep = Condition(choice="depth", options=(2,))
        >>> space = Space({
        ...     "depth": Depth(options=(1, 2), size=2),
        ...     "width": Width(options=(8, 16), size=16, when=(deep,)),
        ... })
        >>> space.size
        3
        >>> space.smallest
        Config({'depth': 1, 'width': 16})
    """

    def __init__(
        self, choices: Mapping[str, Choice], constraints: Iterable[Constraint] = ()
    ) -> None:
        self._choices = dict(choices)
        for name, choice in self._choices.items():
            if not isinstance(name, str) or not name or not isinstance(choice, Choice):
                raise SpaceError(
                    f"a space maps names to choices, got {name!r}: {choice!r}.",
                    hint='Space({"stem.width": Width(options=(8, 16), size=16)}).',
                )
        self._constraints = tuple(constraints)
        for constraint in self._constraints:
            if not isinstance(constraint, Constraint):
                raise SpaceError(
                    f"a constraint must be a Constraint, got {constraint!r}.",
                    hint='for instance Equal(names=("a.width", "b.width")).',
                )
        self._table = Table(self._choices)
        self._solver = Solver(self._table, self._constraints)
        self._largest = self._config(self._table.largest)  # fails if nothing fits the constraints

    # The mapping

    def __getitem__(self, name: str) -> Choice:
        return self._choices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        same = list(self._choices.items()) == list(other._choices.items())
        return same and self._constraints == other._constraints

    def __hash__(self) -> int:
        return hash((tuple(self._choices.items()), self._constraints))

    def __repr__(self) -> str:
        tail = f", constraints={list(self._constraints)!r}" if self._constraints else ""
        return f"Space({self._choices!r}{tail})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (self._choices, self._constraints)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the choices, in the order of genes and encodings."""
        return self._table.names

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What every config satisfies."""
        return self._constraints

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits naming this space, in every process the same."""
        return digest(self.to_data())

    # Configs of note

    @property
    def largest(self) -> Config:
        """The config that leaves the model as it is, or comes nearest under the constraints."""
        return self._largest

    @cached_property
    def smallest(self) -> Config:
        """The config with every number at its first option; swaps keep the original."""
        return self._config(np.zeros(len(self), dtype=np.int64))

    def at_ratio(self, ratio: float) -> Config:
        """The config with every number nearest to ``ratio`` times its full size, ties up.

        Args:
            ratio: Fraction kept, from 0 (the smallest option) to 1; swaps keep the original.
        """
        value = as_option(ratio, "a ratio")
        if isinstance(value, str) or not 0 <= value <= 1:
            raise SpaceError(
                f"a ratio must be from 0 to 1, got {ratio!r}.",
                why="It is the fraction of every axis that is kept.",
                hint="at_ratio(0.5) cuts every axis to about half.",
            )
        return self._config(_checking.ratio_genes(self._table, value))

    def canonical(self, config: Mapping[str, Option]) -> Config:
        """The config with inactive choices at their largest option; constraints are not asked.

        Raises:
            ConfigError: As ``validate`` does, constraints apart.
        """
        row = _checking.checked_genes(self._table, config, self.id)
        return self._as_config(self._table.canonical(row[None])[0])

    def validate(self, config: Mapping[str, Option]) -> Config:
        """The canonical config of a mapping from outside, if it is a config of this space.

        Choices that are not active may be left out.

        Raises:
            ConfigError: For unknown or missing choices, options not offered and constraints that
                do not hold; it names near misses, or the space the config was made for.
        """
        row = _checking.checked_genes(self._table, config, self.id)
        row = self._table.canonical(row[None])[0]
        broken = _checking.constraint_broken(self._solver, row)
        if broken is not None:
            raise broken
        return self._as_config(row)

    def nearest(self, config: Mapping[str, Option]) -> Config:
        """The config nearest to a mapping that may be of another space.

        Numbers go to the nearest option (ties up), unknown names of a swap to the original;
        unknown choices are left out, missing ones set to their largest option.
        """
        return self._config(_checking.nearest_genes(self._table, config))

    def is_active(self, name: str, config: Mapping[str, Option]) -> bool:
        """Whether the choice ``name`` matters in ``config``."""
        if name not in self._choices:
            raise SpaceError(
                f"this space has no choice {name!r}.",
                hint=near_misses(str(name), self._choices),
                choice=name,
            )
        return name in self.active_names(config)

    def active_names(self, config: Mapping[str, Option]) -> tuple[str, ...]:
        """The choices that matter in ``config``, in order."""
        active = self._table.active(self.to_indices(config)[None])[0]
        return tuple(n for n, a in zip(self.names, active, strict=True) if a)

    # How many, and which

    @cached_property
    def _count(self) -> tuple[int, bool]:
        return _count.count(self._solver)

    @property
    def size(self) -> int:
        """The number of canonical configs; an upper bound if ``is_size_exact`` is False.

        Conditions and constraints are counted exactly up to a budget of steps; a part of the
        space beyond it (a sum over many choices) counts as the product of its options.
        """
        return self._count[0]

    @property
    def is_size_exact(self) -> bool:
        """Whether ``size`` is exact."""
        return self._count[1]

    def configs(self) -> Iterator[Config]:
        """All configs, each once: a lazy walk, first the small options. Mind ``size``."""

        def ascending(position: int) -> Sequence[int]:
            return range(int(self._table.counts[position]))

        for chosen in self._solver.solutions(self._table.order, ascending):
            row = np.array([chosen[p] for p in range(len(self))], dtype=np.int64)
            yield self._as_config(row)

    # Moving about

    def sample(self, seed: int | None = None, *, rng: np.random.Generator | None = None) -> Config:
        """A random config: every option of every choice equally likely before repair.

        Args:
            seed: Seed of this one draw; None takes fresh randomness.
            rng: The generator to draw from, instead of a seed.
        """
        generator = np.random.default_rng(seed) if rng is None else rng
        return self._as_config(_variation.draw(self._solver, 1, generator)[0])

    def sample_many(self, n: int, rng: np.random.Generator, *, unique: bool = True) -> list[Config]:
        """``n`` random configs; fewer only if ``unique`` and the space holds fewer."""
        if not unique:
            return [self._as_config(row) for row in _variation.draw(self._solver, n, rng)]
        found: dict[Config, None] = {}
        for _ in range(20):  # rounds; small or tight spaces repeat themselves
            if len(found) >= n:
                break
            rows = _variation.draw(self._solver, n - len(found), rng)
            found.update(dict.fromkeys(self._as_config(row) for row in rows))
        if len(found) < n:
            for config in self.configs():
                found.setdefault(config)
                if len(found) >= n:
                    break
        return list(found)

    def mutate(
        self,
        config: Mapping[str, Option],
        rng: np.random.Generator,
        probability: float | None = None,
    ) -> Config:
        """A config in which some active choices took another option, at least one.

        The same config comes back only where the space holds no other.

        Args:
            config: The config to start from.
            rng: Where the randomness comes from.
            probability: Chance of each active choice to change; None for one over their number.
        """
        row = _variation.mutate(self._solver, self._row(config), rng, probability)
        return self._as_config(row)

    def cross(
        self,
        first: Mapping[str, Option],
        second: Mapping[str, Option],
        rng: np.random.Generator,
    ) -> Config:
        """A config that takes each choice from either parent with equal chance."""
        row = _variation.cross(self._solver, self._row(first), self._row(second), rng)
        return self._as_config(row)

    def neighbours(self, config: Mapping[str, Option]) -> Iterator[Config]:
        """The configs one step away: one active choice moves, a number to an adjacent option.

        Choices tied to it by a constraint follow as far as they must.
        """
        for row in _variation.neighbours(self._solver, self._row(config)):
            yield self._as_config(row)

    # Genes and encodings

    def to_indices(self, config: Mapping[str, Option]) -> Genes:
        """The genes of a config: the position of each option, in the order of ``names``."""
        if tuple(config) == self.names:  # the quick way, for configs of this space
            options = zip(self._table.index_of, config.values(), strict=True)
            try:
                return np.array([index[option] for index, option in options], dtype=np.int64)
            except (KeyError, TypeError):
                pass  # an option that is not offered: the check below says which
        return _checking.checked_genes(self._table, config, self.id)

    def to_indices_many(self, configs: Iterable[Mapping[str, Option]]) -> Genes:
        """The genes of many configs, shape (N, number of choices)."""
        rows = [self.to_indices(config) for config in configs]
        return np.stack(rows) if rows else np.zeros((0, len(self)), dtype=np.int64)

    def from_indices(self, genes: ArrayLike) -> Config:
        """The valid config nearest to a row of genes: clipped, canonical, repaired."""
        return self.from_indices_many(np.asarray(genes)[None])[0]

    def from_indices_many(self, genes: ArrayLike) -> list[Config]:
        """The valid config nearest to each row of genes, shape (N, number of choices)."""
        return [self._as_config(row) for row in self.canonical_indices(genes)]

    def canonical_indices(self, genes: ArrayLike) -> Genes:
        """Rows of genes clipped, made canonical, and repaired where a constraint is broken."""
        return self._solver.repair(self._table.genes(genes))

    def active_mask(self, genes: ArrayLike) -> NDArray[np.bool_]:
        """Which choices are active in each row of genes, shape (N, number of choices)."""
        return self._table.active(self._table.genes(genes))

    def encode(
        self,
        configs: Iterable[Mapping[str, Option]],
        how: Encoding = "onehot",
        mask_inactive: bool = True,
    ) -> NDArray[np.float64]:
        """Configs as numbers for a predictor, shape (N, D), float64.

        Args:
            configs: Configs of this space.
            how: ``onehot``: a column per option; ``ordinal``: a column per choice holding the
                position of the option.
            mask_inactive: Encode inactive choices as all zeros (one-hot) or -1 (ordinal);
                otherwise as their largest option.
        """
        return self.encode_indices(self.to_indices_many(configs), how, mask_inactive)

    def encode_indices(
        self, genes: ArrayLike, how: Encoding = "onehot", mask_inactive: bool = True
    ) -> NDArray[np.float64]:
        """Rows of genes encoded as ``encode`` does; constraints are not asked."""
        if how not in ("onehot", "ordinal"):
            raise SpaceError(
                f"there is no encoding {how!r}.", hint=near_misses(str(how), ("onehot", "ordinal"))
            )
        rows = self._table.genes(genes)
        active = self._table.active(rows)
        rows = np.where(active, rows, self._table.largest)
        shown = active if mask_inactive else np.ones_like(active)
        encoder = self._table.onehot if how == "onehot" else self._table.ordinal
        return encoder(rows, shown)

    # Other spaces

    def restrict(self, options: Mapping[str, Option | Iterable[Option]]) -> Space:
        """A narrower copy that keeps only the given options of some choices.

        Args:
            options: For a name, or a pattern such as ``"stage1.*.width"``, the options to keep.
                Of a pattern, each choice keeps those it has.

        Raises:
            SpaceError: For a name or pattern that matches nothing, an option that no matched
                choice has, or a choice left without options.
        """
        kept = dict(self._choices)
        for pattern, wanted in options.items():
            for name, choice in _narrowed(kept, pattern, wanted).items():
                kept[name] = choice
        return Space(_trim_conditions(kept), self._constraints)

    def to_data(self) -> dict[str, Any]:
        """This space as JSON data; choices are a list, so their order survives any writer."""
        return {
            "schema": 1,
            "choices": [{"name": n, **choice.to_data()} for n, choice in self._choices.items()],
            "constraints": [constraint.to_data() for constraint in self._constraints],
        }

    def to_json(self) -> str:
        """This space as JSON text."""
        return json.dumps(self.to_data(), allow_nan=False)

    @classmethod
    def from_data(cls, data: Any) -> Space:
        """The space in JSON data, strictly checked."""
        found = checked_keys(
            data, required=("schema", "choices"), optional=("constraints",), what="a space"
        )
        if type(found["schema"]) is not int or found["schema"] != 1:
            raise SpaceError(
                f"a space of schema {found['schema']!r} cannot be read.",
                why="This version of supple reads schema 1.",
                hint="read it with the version of supple that wrote it.",
            )
        choices: dict[str, Choice] = {}
        for item in _list_of(found["choices"], "choices"):
            if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
                raise SpaceError(
                    f"a choice must be an object with a name, got {item!r}.",
                    hint="pass what to_data() or to_json() gave, unchanged.",
                )
            if item["name"] in choices:
                raise SpaceError(
                    f"the choice '{item['name']}' is given twice.", hint="leave one of them out."
                )
            rest = {key: value for key, value in item.items() if key != "name"}
            choices[item["name"]] = Choice.from_data(rest)
        constraints = _list_of(found.get("constraints", []), "constraints")
        return cls(choices, [constraint_from_data(item) for item in constraints])

    @classmethod
    def from_json(cls, text: str | bytes) -> Space:
        """The space that ``to_json`` wrote; anything else raises SpaceError."""
        return cls.from_data(parse(text, "a space"))

    # Rows to configs and back

    def _row(self, config: Mapping[str, Option]) -> Genes:
        row: Genes = self._table.canonical(self.to_indices(config)[None])[0]
        return row

    def _as_config(self, row: Genes) -> Config:
        return Config._of(self._table.options(row), self.id)

    def _config(self, row: Genes) -> Config:
        return self._as_config(self._solver.repair_one(row))


def _list_of(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise SpaceError(
            f"the {what} of a space must be a list, got {type(value).__name__}.",
            hint="pass what to_data() or to_json() gave, unchanged.",
        )
    return value


def _narrowed(
    choices: Mapping[str, Choice], pattern: str, wanted: Option | Iterable[Option]
) -> dict[str, Choice]:
    """The choices that ``pattern`` names, with only the wanted options."""
    # A name may hold characters that mean something in a pattern, so exact names go first.
    names = [pattern] if pattern in choices else fnmatch.filter(choices, pattern)
    if not names:
        raise SpaceError(
            f"{pattern!r} matches no choice of this space.",
            hint=near_misses(str(pattern), choices),
            choice=pattern,
        )
    is_one = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    several: Any = [wanted] if is_one else wanted
    asked = {as_option(option) for option in several}
    offered = {option for name in names for option in choices[name].options}
    for option in asked - offered:
        _checking.checked_option(names[0], choices[names[0]], option)  # raises, naming the nearest
    narrowed = {}
    for name in names:
        options = tuple(option for option in choices[name].options if option in asked)
        if not options:
            raise SpaceError(
                f"restricting {pattern!r} to {sorted(asked, key=str)} leaves '{name}' no option.",
                why=f"Its options are {choices[name].options}.",
                hint="name at least one option of every choice the pattern matches.",
                choice=name,
            )
        narrowed[name] = _with(choices[name], options, choices[name].when)
    return narrowed


def _with(choice: Choice, options: tuple[Option, ...], when: tuple[Condition, ...]) -> Choice:
    data = {**choice.to_data(), "options": list(options), "when": [c.to_data() for c in when]}
    return Choice.from_data(data)


def _trim_conditions(choices: Mapping[str, Choice]) -> dict[str, Choice]:
    """The choices with conditions that speak only about options that are still there."""
    trimmed = {}
    for name, choice in choices.items():
        when = tuple(
            Condition(
                choice=condition.choice,
                options=tuple(
                    o for o in condition.options if o in choices[condition.choice].options
                ),
            )
            for condition in choice.when
        )
        trimmed[name] = _with(choice, choice.options, when)
    return trimmed
