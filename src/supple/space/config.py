"""Config: one option for every choice of a space, as an immutable value.

A config is a mapping that can be hashed, compared with any other mapping, written as JSON and
named by an id of 12 hexadecimal digits that does not depend on the process or the key order.
It does not hold its space, only that space's id, so it stays small and travels anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from supple.errors import ConfigError, SpaceError, near_misses
from supple.space._json import digest, parse
from supple.space.choice import Option, as_option

__all__ = ["Config"]


class Config(Mapping[str, Option]):
    """An immutable mapping from the name of a choice to the chosen option.

    Made by a space, which checks it and sets inactive choices to their largest option; built by
    hand it is only a value, and ``space.validate(config)`` checks it.

    Args:
        options: The option of each choice, in the order of the space.
        space_id: Id of the space it was made for; not part of equality, hash or JSON.

    Example:
        >>> from supple.space import Config
        >>> config = Config({"stem.width": 16, "stage1.depth": 2})
        >>> config.replace({"stem.width": 8})
        Config({'stem.width': 8, 'stage1.depth': 2})
    """

    __slots__ = ("_hash", "_id", "_options", "_space_id")

    def __init__(self, options: Mapping[str, Option], *, space_id: str = "") -> None:
        checked: dict[str, Option] = {}
        for name, option in dict(options).items():
            if not isinstance(name, str) or not name:
                raise ConfigError(
                    f"a config has the choice {name!r}.",
                    why="A choice is named by a string that is not empty.",
                    hint="use the names of the space: list(space).",
                )
            try:
                checked[name] = as_option(option, f"the option of '{name}'")
            except SpaceError as problem:
                raise ConfigError(problem.message, hint=problem.hint) from None
        self._fill(checked, space_id)

    def _fill(self, options: dict[str, Option], space_id: str) -> None:
        self._options = options
        self._space_id = space_id
        self._hash: int | None = None
        self._id: str | None = None

    @classmethod
    def _of(cls, options: dict[str, Option], space_id: str) -> Config:
        """A config of options that a space has already checked."""
        config = cls.__new__(cls)
        config._fill(options, space_id)
        return config

    def __getitem__(self, name: str) -> Option:
        try:
            return self._options[name]
        except (KeyError, TypeError):
            # Mapping's `in` and `get` rest on KeyError.
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self._options == other._options
        if isinstance(other, Mapping):
            return self._options == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._options.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Config({self._options!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self._options), self._space_id)

    @property
    def id(self) -> str:
        """12 hexadecimal digits naming these options, in every process the same."""
        if self._id is None:
            self._id = digest(self._options)
        return self._id

    @property
    def space_id(self) -> str:
        """Id of the space this config was made for, empty if none made it."""
        return self._space_id

    def replace(self, changes: Mapping[str, Option] | None = None, /, **named: Option) -> Config:
        """A config with some options changed; names with dots are given as a mapping.

        Raises:
            ConfigError: For a choice this config does not have.
        """
        changed = {**(changes or {}), **named}
        for name in changed:
            if name not in self._options:
                raise ConfigError(
                    f"this config has no choice {name!r} to replace.",
                    hint=near_misses(str(name), self._options),
                    choice=name,
                )
        return Config({**self._options, **changed}, space_id=self._space_id)

    def to_json(self) -> str:
        """These options as a JSON object, in order."""
        return json.dumps(self._options, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Config:
        """The config that ``to_json`` wrote; anything else raises ConfigError."""
        data = parse(text, "a config", ConfigError)
        if not isinstance(data, dict):
            raise ConfigError(
                f"a config must be a JSON object, got {type(data).__name__}.",
                hint="pass what to_json() gave.",
            )
        return cls(data)


def _rebuild(options: dict[str, Option], space_id: str) -> Config:
    return Config._of(options, space_id)
