"""Which way is better, for every objective, and values turned so that smaller is better.

Everything that compares (fronts, hypervolume, strategies) works on *losses*: the values of the
objectives in a fixed order, with the sign of maximised ones flipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection

from supple.errors import StudyError, near_misses

__all__ = ["Direction", "Directions", "checked_directions", "losses", "signs", "study_directions"]

Direction = Literal["min", "max"]
Directions = Mapping[str, Direction]

MAX_OBJECTIVES = 3


def checked_directions(directions: Mapping[str, str]) -> dict[str, Direction]:
    """The directions as a dict of ``"min"`` and ``"max"``, in the order given.

    Raises:
        StudyError: For none, more than three, or a direction that does not exist.
    """
    if not isinstance(directions, Mapping) or not 1 <= len(directions) <= MAX_OBJECTIVES:
        raise StudyError(
            f"a study needs one to {MAX_OBJECTIVES} objectives with a direction each, "
            f"got {directions!r}.",
            hint='directions={"accuracy": "max", "latency": "min"}.',
        )
    known = get_args(Direction)
    for name, direction in directions.items():
        if not isinstance(name, str) or not name:
            raise StudyError(f"an objective is named {name!r}.", hint='use a name: "accuracy".')
        if direction not in known:
            raise StudyError(
                f"objective '{name}' has the direction {direction!r}.",
                hint=near_misses(str(direction), known),
                objective=name,
            )
    return {name: "max" if way == "max" else "min" for name, way in directions.items()}


def study_directions(directions: Directions) -> list[StudyDirection]:
    """The directions as Optuna names them."""
    names = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
    return [names[way] for way in directions.values()]


def signs(directions: Iterable[str]) -> NDArray[np.float64]:
    """1 for each minimised and -1 for each maximised objective."""
    return np.array([-1.0 if way == "max" else 1.0 for way in directions])


def losses(values: Sequence[Mapping[str, float]], directions: Directions) -> NDArray[np.float64]:
    """Values by name as an array of losses, shape (number of points, number of objectives)."""
    table = np.array([[v[name] for name in directions] for v in values], dtype=np.float64)
    return table.reshape(len(values), len(directions)) * signs(directions.values())
